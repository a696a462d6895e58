"""The program: its commands, registered."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from vlm_inspect.cli import check, diff, doctor, show, snapshot, table, tree
from vlm_inspect.cli.exits import WRONG_COMMAND_LINE
from vlm_inspect.cli.output import report, unwritable
from vlm_inspect.version import __version__

app = typer.Typer(
    name="vlm-inspect",
    help="What a vision-language model is made of: exactly, and without downloading a weight.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # the same help and usage errors in every terminal and pipe
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("table")(table.command)
app.command("show")(show.command)
app.command("tree")(tree.command)
app.command("diff")(diff.command)
app.command("snapshot")(snapshot.command)
app.command("check")(check.command)
app.command("doctor")(doctor.command)


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
    _open_streams()
    try:
        app()
    except OSError as error:  # of what typer writes by itself: help, the version, a usage error
        report(unwritable(error))
        sys.exit(WRONG_COMMAND_LINE)
    finally:
        # what has been imported is as large as ever: looking for garbage in it takes a second of the exit
        gc.freeze()


def _open_streams() -> None:
    """A process may be started without them; what is said then is lost, as with print()."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            nowhere = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - as long as the process
            setattr(sys, name, nowhere)
