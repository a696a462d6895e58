"""The floor of a command that prints: the same table, as typer has it with two arguments and an option."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

program = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)


@program.command()
def command(rows: int, name: str, format: Annotated[str, typer.Option("--format")] = "terminal") -> None:  # noqa: A002 - as ours is called
    """Print a table of so many rows."""
    table = Table("what", "before", "after", title=f"{name}, {format}")
    for index in range(rows):
        table.add_row(f"row {index}", "a value", "another value")
    Console(width=100).print(table)


program()
