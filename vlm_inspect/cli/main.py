"""The program: its commands, registered."""

from __future__ import annotations

from typing import Annotated

import typer

from vlm_inspect.cli import check, show, snapshot, table, tree
from vlm_inspect.version import __version__

app = typer.Typer(
    name="vlm-inspect",
    help="What a vision-language model is made of: exactly, and without downloading a weight.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("table")(table.command)
app.command("show")(show.command)
app.command("tree")(tree.command)
app.command("snapshot")(snapshot.command)
app.command("check")(check.command)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vlm-inspect {__version__}")
        raise typer.Exit


@app.callback()
def options(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """What a vision-language model is made of: exactly, and without downloading a weight."""


def main() -> None:
    """Run the program, and end the process with its exit code."""
    app()
