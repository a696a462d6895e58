"""The program: its commands, registered.

A command's file imports what the command needs. Only the one that is asked for is imported: what another
needs costs as much as the answer, where the answer is a few lines.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Collection, Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from vlm_inspect.cli import exits, interruption
from vlm_inspect.cli.output import report, unwritable
from vlm_inspect.version import __version__

# in the order of the list, each with the first sentence of its own help
COMMANDS: Mapping[str, str] = {
    "table": "The architecture table: a row per model, a column per part.",
    "show": "One model in full: its parts, their parameters, their layers.",
    "tree": "The module tree, repeated layers folded, with the parameters of each node.",
    "diff": "What is not the same in two models: components, facts, and module paths that moved.",
    "snapshot": "Write a snapshot file per model: its record and its module tree, pinned to a commit.",
    "check": "Compare what the models are now with their snapshot files.",
    "verify": "Whether a checkpoint will load: its tensors against the model that its config builds.",
    "doctor": "Versions, cache, token (present or not), the way to the Hub.",
}
_COMPLETION = "_VLM_INSPECT_COMPLETE"  # set by a shell that asks what a command takes
_TYPED = ("COMP_WORDS", "_TYPER_COMPLETE_ARGS")  # what has been typed: bash's word for it, and the others'


def program(words: Collection[str] = tuple(COMMANDS)) -> typer.Typer:
    """The commands that are among these words, ready to run; of the others only what the list says."""
    typed = typer.Typer(
        name="vlm-inspect",
        help="What a vision-language model is made of: exactly, and without downloading a weight.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # the same help and usage errors in every terminal and pipe
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    typed.callback()(options)
    for name, says in COMMANDS.items():
        if name in words:
            typed.command(name)(import_module(f"vlm_inspect.cli.{name}").command)
        else:
            typed.command(name, help=says)(_not_asked)
    return typed


def _words() -> Collection[str]:
    """What the user has typed; of a shell that does not say, what any user may."""
    if _COMPLETION not in os.environ:
        return sys.argv
    typed = [os.environ[name] for name in _TYPED if name in os.environ]
    return " ".join(typed).split() if typed else COMMANDS


def _not_asked() -> None:
    """A command of another name was asked for, or none."""


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vlm-inspect {__version__}")
        raise typer.Exit


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
        program(_words())()
    except SystemExit as end:
        if end.code == exits.INTERRUPTED:
            interruption.end_process()
        raise
    except OSError as error:  # of what typer writes by itself: help, the version, a usage error
        report(unwritable(error))
        sys.exit(exits.WRONG_COMMAND_LINE)
    finally:
        # what has been imported is as large as ever: looking for garbage in it takes a second of the exit
        gc.freeze()


def _open_streams() -> None:
    """A process may be started without them; what is said then is lost, as with print()."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            nowhere = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - as long as the process
            setattr(sys, name, nowhere)
