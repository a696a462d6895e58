"""The program and its commands.

Only the file of the command that runs is imported: with all of them, `--help` would take a third longer.
"""

from __future__ import annotations

import gc
import inspect
import os
import sys
from collections.abc import Collection, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from vlm_inspect.cli import exits
from vlm_inspect.cli.output import report, unwritable
from vlm_inspect.core.version import __version__

_ARGUMENTS = "Arguments"
_OPTIONS = "Options"


class HelpCommand(TyperCommand):
    """A command with typer's option groups in plain text: rich would take longer to import than to answer."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:  # noqa: ARG002 - typer's signature
        """The usage line, without braces around what is required."""
        return ["[OPTIONS]", *(usage(each) for each in self.params if _is_argument(each))]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Every option in its group."""
        for title, parameters in grouped(self.get_params(ctx)):
            records = [_record(each, ctx) for each in parameters]
            with formatter.section(title):
                formatter.write_dl([record for record in records if record])

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - typer's signature
        """The examples, a line for each, which is not wrapped."""
        if self.epilog:
            with formatter.section("Examples"):
                formatter.write("".join(f"  {line}\n" for line in self.epilog.splitlines()))


def grouped(parameters: list[Any]) -> Iterator[tuple[str, list[Any]]]:
    """Arguments, the command's own options, then each group of shared ones."""
    groups: dict[str, list[Any]] = {_ARGUMENTS: [], _OPTIONS: []}
    for each in parameters:
        title = _ARGUMENTS if _is_argument(each) else getattr(each, "rich_help_panel", None) or _OPTIONS
        groups.setdefault(title, []).append(each)
    return ((title, group) for title, group in groups.items() if group)


def usage(argument: Any) -> str:
    """An argument as the usage line shows it: `MODEL`, `[MODEL]...`."""
    many = "..." if argument.nargs != 1 else ""
    return f"{argument.metavar if argument.required else f'[{argument.metavar}]'}{many}"


def _record(parameter: Any, ctx: Any) -> tuple[str, str] | None:
    """A line of the help, without the types that typer adds to arguments."""
    if _is_argument(parameter):
        return parameter.metavar, parameter.help or ""
    record = parameter.get_help_record(ctx)
    # typer writes a switch that only turns something off as ` / --no-cache`
    return (record[0].removeprefix(" / "), record[1]) if record else None


def _is_argument(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "argument")


_HELP = "Inspect what a vision-language model is made of, without downloading its weights."
COMMANDS: Mapping[str, str] = {
    "table": "Print a table of models, with a row per model.",
    "show": "Show one model: its components, parameters and layers.",
    "tree": "Show the module tree of a model, with repeated layers folded.",
    "diff": "Compare two models: their components, facts and module paths.",
    "snapshot": "Write a snapshot file per model: its record and module tree.",
    "check": "Compare models with their snapshot files.",
    "verify": "Check that a checkpoint's tensors match the model of its config.",
    "doctor": "Check your environment: versions, cache, token, Hub access.",
}
"""The commands, in the order of the list, and the first sentence of each one's help."""
_COMPLETION = "_VLM_INSPECT_COMPLETE"  # set by a shell that completes a command line
_TYPED = ("COMP_WORDS", "_TYPER_COMPLETE_ARGS")  # the command line so far: in bash, and in other shells


def program(names: Collection[str] = tuple(COMMANDS)) -> typer.Typer:
    """The program. Only commands that are in `names` are imported; the others are names in the help."""
    app = typer.Typer(
        name="vlm-inspect",
        help=_HELP,
        epilog="Try: vlm-inspect show llava-hf/llava-1.5-7b-hf",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # the same help and usage errors in every terminal and pipe
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    app.callback()(_options)
    for name, summary in COMMANDS.items():
        if name in names:
            module = import_module(f"vlm_inspect.cli.{name}")
            text = f"{summary} {inspect.getdoc(module.command)}"
            add = app.command(name, cls=HelpCommand, help=text, short_help=summary, epilog=module.EXAMPLES)
            add(module.command)
        else:
            app.command(name, short_help=summary)(_stub)
    return app


def _argv() -> Collection[str]:
    """The command line, or the one that a shell completes; every command if the shell does not tell it."""
    if _COMPLETION not in os.environ:
        return sys.argv
    typed = [os.environ[name] for name in _TYPED if name in os.environ]
    return " ".join(typed).split() if typed else COMMANDS


def _stub() -> None:
    """Stands for a command that is not run."""


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vlm-inspect {__version__}")
        raise typer.Exit


def _options(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the program, and end the process with its exit code."""
    _open_streams()
    try:
        program(_argv())()
    except OSError as error:  # typer could not write help, the version or a usage error
        report(unwritable(error))
        sys.exit(exits.WRONG_COMMAND_LINE)
    finally:
        # collecting garbage among everything that was imported takes a second at exit
        gc.freeze()


def _open_streams() -> None:
    """Replace streams that the process was started without; output to them is lost, as with print()."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            nowhere = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - as long as the process
            setattr(sys, name, nowhere)
