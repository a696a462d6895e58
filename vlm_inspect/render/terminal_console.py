"""Rich, told everything that it would otherwise look up: the same text on every machine."""

from __future__ import annotations

import io
from collections.abc import Iterable

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.text import Text

from vlm_inspect.render.cells import Cell, Span
from vlm_inspect.render.layout import Layout

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
