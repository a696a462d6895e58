"""Rich with fixed settings, so that the output is the same on every machine, and shared renderables."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from vlm_inspect.render.cells import Cell, Layout, Line, Span, escape_control_chars

MIN_WIDTH = 20
"""Minimum width; a narrower terminal wraps lines itself."""
# colours of the terminal's own palette suit both light and dark themes
CODE, HEADING, NAME, FAINT, WARNING, BAR = "cyan", "bold", "bold green", "dim", "yellow", "blue"
INDENT = 2
GAP = 2

# if titles leave less room than this, values go below them
_MIN_VALUE_WIDTH = 28
_EIGHTHS = " ▏▎▍▌▋▊▉"


def render_text(parts: Iterable[RenderableType], layout: Layout) -> str:
    """Render parts to text, without trailing spaces."""
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=max(layout.width, MIN_WIDTH),
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


def styled_text(cell: Cell, style: str = "") -> Text:
    """A cell, escaped, with its identifiers in colour and its unknown values highlighted."""
    line = Text(style=style, overflow="fold")
    for span in cell:
        is_warning = span.text.lstrip(" ,").startswith(("unknown", "error:"))
        line.append(_span_text(span), style=CODE if span.code else WARNING if is_warning else "")
    return line


def plain_line(value: str, style: str = "") -> Text:
    """A text with its control characters escaped."""
    return Text(escape_control_chars(value), style=style, overflow="fold")


def cell_width(cell: Cell) -> int:
    """The number of terminal columns of a cell, escaped."""
    return sum(cell_len(_span_text(span)) for span in cell)


def indented(part: RenderableType, indent: int = INDENT) -> RenderableType:
    """A part moved to the right."""
    return Padding(part, (0, 0, 0, indent))


def titled(title: str, parts: Sequence[RenderableType], indent: int = INDENT) -> Iterator[RenderableType]:
    """An empty line, a heading, and the indented parts; nothing if there are no parts."""
    if parts:
        yield ""
        yield plain_line(title, HEADING)
        yield from (indented(part, indent) for part in parts)


def definition_list(lines: Sequence[Line], width: int, *, indent: int = INDENT, min_title: int = 0) -> RenderableType:
    """Titles and values in two columns, or values below their titles where the terminal is narrow."""
    longest_title = max((cell_len(title) for title, _ in lines), default=0)
    has_room = width - indent - max(longest_title, min_title) - GAP >= _MIN_VALUE_WIDTH
    return indented(_two_columns(lines, min_title) if has_room else _one_column(lines), indent)


def progress_bar(part: int, total: int, width: int) -> str:
    """A bar of block characters, to an eighth of a character; a part that is not zero is always visible."""
    if total <= 0 or part <= 0:
        return ""
    full, rest = divmod(max(1, round(8 * width * min(part / total, 1))), 8)
    return "█" * full + (_EIGHTHS[rest] if rest else "")


def _two_columns(lines: Sequence[Line], min_title: int) -> Grid:
    grid = Grid.grid(padding=(0, GAP, 0, 0))
    grid.add_column(style=FAINT, no_wrap=True, min_width=min_title)
    grid.add_column(overflow="fold")
    for title, cell in lines:
        grid.add_row(Text(title), styled_text(cell))
    return grid


def _one_column(lines: Sequence[Line]) -> Grid:
    grid = Grid.grid()
    grid.add_column(overflow="fold")
    for title, cell in lines:
        grid.add_row(Text(title, style=FAINT))
        grid.add_row(indented(styled_text(cell), INDENT + len(title) - len(title.lstrip())))
    return grid


def _span_text(span: Span) -> str:
    return escape_control_chars(span.href or span.text)
