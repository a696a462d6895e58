"""Commands on hostile files that hypothesis makes: `make fuzz` runs many, `make test` a few."""
