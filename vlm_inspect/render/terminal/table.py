"""Tables in a terminal: as a grid if it fits, else as a block of lines for each row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table as Grid
from rich.text import Text

from vlm_inspect.render.cells import Layout, Table, text
from vlm_inspect.render.terminal import console


def render_terminal(tables: Sequence[Table], layout: Layout) -> str:
    """Text that is never wider than the terminal, readable without colour."""
    return console.render_text(_parts(tables, max(layout.width, console.MIN_WIDTH)), layout)


def _parts(tables: Sequence[Table], width: int) -> Iterator[RenderableType]:
    for index, table in enumerate(tables):
        if index:
            yield ""
        if len(tables) > 1 and table.title:
            yield Text(table.title, style=console.HEADING)
        yield from [_grid(table)] if _natural_width(table) <= width else _records(table, width)
        if table.notes:
            yield ""
        yield from (console.styled_text(text(note), console.FAINT) for note in table.notes)


def _natural_width(table: Table) -> int:
    columns = zip(*([[text(header) for header in table.headers], *table.rows]), strict=True)
    return sum(max(map(console.cell_width, column)) + console.GAP for column in columns) - console.GAP


def _grid(table: Table) -> RenderableType:
    grid = Grid(box=None, pad_edge=False, padding=(0, console.GAP, 0, 0), collapse_padding=True)
    for index, header in enumerate(table.headers):
        grid.add_column(Text(header, style=console.HEADING), style=console.NAME if not index else "", overflow="fold")
    for row in table.rows:
        grid.add_row(*(console.styled_text(cell) for cell in row))
    return grid


def _records(table: Table, width: int) -> Iterator[RenderableType]:
    """For each row, its first cell, and below it a line for each other column."""
    for index, row in enumerate(table.rows):
        if index:
            yield ""
        yield console.styled_text(row[0], console.NAME)
        yield console.definition_list(list(zip(table.headers[1:], row[1:], strict=True)), width)
