"""Which module has which role, and which parameters are whose."""
