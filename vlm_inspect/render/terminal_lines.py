"""Titles and their values in a terminal: side by side, or one below the other where it is narrow."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from vlm_inspect.render.cells import Cell
from vlm_inspect.render.terminal_console import FAINT, styled

INDENT = 2
GAP = 2
# values that have less room than this beside their titles go below them
_NARROWEST_VALUES = 28


def titled_lines(
    lines: Sequence[tuple[str, Cell]], width: int, *, indent: int = INDENT, least_title: int = 0
) -> RenderableType:
    """A line for each title and value, as wide as the terminal allows."""
    titles = max((cell_len(title) for title, _ in lines), default=0)
    has_room = width - indent - max(titles, least_title) - GAP >= _NARROWEST_VALUES
    grid = _beside(lines, least_title) if has_room else _below(lines)
    return Padding(grid, (0, 0, 0, indent))


def _beside(lines: Sequence[tuple[str, Cell]], least_title: int) -> Grid:
    grid = Grid.grid(padding=(0, GAP, 0, 0))
    grid.add_column(style=FAINT, no_wrap=True, min_width=least_title)
    grid.add_column(overflow="fold")
    for title, cell in lines:
        grid.add_row(Text(title), styled(cell))
    return grid


def _below(lines: Sequence[tuple[str, Cell]]) -> Grid:
    grid = Grid.grid()
    grid.add_column(overflow="fold")
    for title, cell in lines:
        indent = INDENT + len(title) - len(title.lstrip())
        grid.add_row(Text(title, style=FAINT))
        grid.add_row(Padding(styled(cell), (0, 0, 0, indent)))
    return grid
