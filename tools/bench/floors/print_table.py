"""The floor of printing: import typer and rich, and print a table with the given number of rows."""

import sys

import typer  # noqa: F401 - part of what it costs
from rich.console import Console
from rich.table import Table

table = Table("what", "before", "after")
for index in range(int(sys.argv[1])):
    table.add_row(f"row {index}", "a value", "another value")
Console(width=100).print(table)
