"""A card in a terminal: who it is, what share each part has, and each part in full."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from vlm_inspect.render.card import Card, Line, Section
from vlm_inspect.render.cells import Cell, Layout, Span, text, visible
from vlm_inspect.render.terminal.console import (
    BAR,
    FAINT,
    GAP,
    HEADING,
    INDENT,
    NAME,
    NARROWEST,
    WARNING,
    bar,
    printed,
    styled,
    titled_lines,
)
from vlm_inspect.render.text.values import exact_count, short_count

# where there is no room for all of it, the bars go first, then the classes and the exact counts
_ROOM_FOR_BARS = 76
_ROOM_FOR_CLASSES = 64
_WIDEST_BAR = 24
# values of all sections begin in one column
_LEAST_TITLE = len("Flash attention")


def card_text(card: Card, *, width: int = 100, colour: bool = False) -> str:
    """The card as text, never wider than the terminal, legible without colour."""
    layout = Layout(width, colour)
    return printed(_parts(card, max(width, NARROWEST)), layout)


def _parts(card: Card, width: int) -> Iterator[RenderableType]:
    yield _words(card.name, NAME)
    yield styled(_seen(card.headline))
    if card.warning:
        yield _words(f"Warning: {card.warning}", WARNING)
    yield _lines(card.about, width, indent=0)
    yield ""
    yield _shares(card, width)
    for section in card.sections:
        yield ""
        yield _heading(section)
        yield _lines(_section_lines(section, width), width)
    yield from _group("Not in this model", [_lines(card.absent, width)] if card.absent else [])
    yield from _group("Not known", [_lines(card.unknown, width)] if card.unknown else [])
    yield from _group("Tied, and counted once", [_indented(styled(_seen(tie))) for tie in card.ties])
    yield from _group("Notes", [_indented(_words(note)) for note in card.notes])


def _group(title: str, body: Sequence[RenderableType]) -> Iterator[RenderableType]:
    if body:
        yield ""
        yield Text(title, style=HEADING)
        yield from body


def _heading(section: Section) -> Text:
    heading = Text(section.title, style=HEADING, overflow="fold")
    if section.paths:
        heading.append(f"  {visible(', '.join(section.paths))}", style=f"not bold {FAINT}")
    return heading


def _section_lines(section: Section, width: int) -> list[Line]:
    own_class = [] if width >= _ROOM_FOR_CLASSES else [("Class", section.class_name)]
    return [*own_class, *section.lines, *(("Why", text(why)) for why in section.evidence)]


def _shares(card: Card, width: int) -> RenderableType:
    """Components with their parameters, shares and bars."""
    has_bars, is_wide = width >= _ROOM_FOR_BARS, width >= _ROOM_FOR_CLASSES
    grid = Grid.grid(padding=(0, GAP, 0, 0))
    for justify in (
        "left",
        *(["left"] if is_wide else []),
        "right",
        "right",
        *(["left"] if has_bars else []),
    ):
        grid.add_column(justify=justify, overflow="fold")  # type: ignore[arg-type]
    for section in card.sections:
        class_name = [styled(_seen(section.class_name))] if is_wide else []
        count = styled(_seen(section.count)) if is_wide else Text(_in_short(section.parameters))
        bars = [_bar(section, card)] if has_bars else []
        grid.add_row(Text(section.title, style=HEADING), *class_name, count, section.percent, *bars)
    if card.total is not None:
        total = exact_count(card.total) if is_wide else short_count(card.total)
        grid.add_row(Text("Total", style=FAINT), *([""] if is_wide else []), total)
    return grid


def _bar(section: Section, card: Card) -> Text:
    return Text(bar(section.parameters or 0, card.total or 0, _WIDEST_BAR), style=BAR, no_wrap=True)


def _in_short(count: int | None) -> str:
    return "unknown" if count is None else short_count(count)


def _lines(lines: Sequence[Line], width: int, *, indent: int = INDENT) -> RenderableType:
    seen = [(title, _seen(cell)) for title, cell in lines]
    return titled_lines(seen, width, indent=indent, least_title=_LEAST_TITLE + INDENT - indent)


def _seen(cell: Cell) -> Cell:
    return tuple(Span(visible(span.text), span.code, span.href) for span in cell)


def _indented(part: RenderableType) -> RenderableType:
    return Padding(part, (0, 0, 0, INDENT))


def _words(value: str, style: str = "") -> Text:
    return Text(visible(value), style=style, overflow="fold")
