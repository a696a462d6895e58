"""Rich, told everything that it would otherwise look up: the same text on every machine."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from vlm_inspect.render.cells import Cell, Layout, Span

NARROWEST = 20
# colours of the terminal's own palette, so that they suit a light one and a dark one
CODE, HEADING, NAME, FAINT, WARNING, BAR = "cyan", "bold", "bold green", "dim", "yellow", "blue"
_WARNINGS = ("unknown", "error:")


def printed(parts: Iterable[RenderableType], layout: Layout) -> str:
    """What rich makes of the parts; trailing spaces are cut where there is no colour."""
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=max(layout.width, NARROWEST),
        height=1000,
        color_system="standard" if layout.colour else None,
        force_terminal=layout.colour,
        no_color=not layout.colour,
        force_interactive=False,
        force_jupyter=False,
        legacy_windows=False,
        markup=False,
        emoji=False,
        highlight=False,
        soft_wrap=False,
        _environ={},
    )
    for part in parts:
        console.print(part)
    return "".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines())


def styled(cell: Cell, style: str = "") -> Text:
    """A cell with its names in colour; what is not known stands out."""
    told = Text(style=style, overflow="fold")
    for span in cell:
        told.append(_words(span), style=_style(span))
    return told


def width_of(cell: Cell) -> int:
    """Columns of the terminal that the cell takes."""
    return sum(cell_len(_words(span)) for span in cell)


def _words(span: Span) -> str:
    return span.href or span.text


def _style(span: Span) -> str:
    if span.code:
        return CODE
    return WARNING if span.text.lstrip(" ,").startswith(_WARNINGS) else ""


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


_EIGHTHS = " ▏▎▍▌▋▊▉"
_FULL = "█"


def bar(part: int, total: int, width: int) -> str:
    """A bar as long as the part's share of `width`; what is there at all can be seen."""
    if total <= 0 or part <= 0:
        return ""
    eighths = max(1, round(8 * width * min(part / total, 1)))
    full, rest = divmod(eighths, 8)
    return _FULL * full + (_EIGHTHS[rest] if rest else "")
