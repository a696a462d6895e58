"""The help of a command: its options in groups, and examples at its end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from typer.core import TyperCommand

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
