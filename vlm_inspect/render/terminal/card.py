"""A card in a terminal: the model, the share of each component, and the components in detail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table as Grid
from rich.text import Text

from vlm_inspect.render.card import Card, Section
from vlm_inspect.render.cells import Layout, Line, escape_control_chars, text
from vlm_inspect.render.terminal import console
from vlm_inspect.render.text.values import exact_count, short_count

# on narrow terminals the bars go first, then the classes and the exact counts
_MIN_WIDTH_FOR_BARS = 76
_MIN_WIDTH_FOR_CLASSES = 64
_MAX_BAR_WIDTH = 24
# aligns the values of all sections
_MIN_TITLE_WIDTH = len("Flash attention")


def card_text(card: Card, *, width: int = 100, colour: bool = False) -> str:
    """The card as text, never wider than the terminal, readable without colour."""
    return console.render_text(_parts(card, max(width, console.MIN_WIDTH)), Layout(width, colour))


def _parts(card: Card, width: int) -> Iterator[RenderableType]:
    yield console.plain_line(card.name, console.NAME)
    yield console.styled_text(card.headline)
    if card.warning:
        yield console.plain_line(f"Warning: {card.warning}", console.WARNING)
    yield _properties(card.about, width, indent=0)
    yield ""
    yield _shares(card, width)
    for section in card.sections:
        yield ""
        yield _heading(section)
        class_line = [] if width >= _MIN_WIDTH_FOR_CLASSES else [("Class", section.class_name)]
        evidence = (("Evidence", text(reason)) for reason in section.evidence)
        yield _properties([*class_line, *section.lines, *evidence], width)
    for title, roles in (("Not in this model", card.absent), ("Unknown", card.unknown)):
        yield from console.titled(title, [_properties(roles, width)] if roles else [], indent=0)
    yield from console.titled("Tied parameters (counted once)", [console.styled_text(tie) for tie in card.ties])
    yield from console.titled("Notes", [console.plain_line(note) for note in card.notes])


def _heading(section: Section) -> Text:
    heading = Text(section.title, style=console.HEADING, overflow="fold")
    if section.paths:
        heading.append(f"  {escape_control_chars(', '.join(section.paths))}", style=f"not bold {console.FAINT}")
    return heading


def _shares(card: Card, width: int) -> RenderableType:
    has_bars, is_wide = width >= _MIN_WIDTH_FOR_BARS, width >= _MIN_WIDTH_FOR_CLASSES
    grid = Grid.grid(padding=(0, console.GAP, 0, 0))
    for _ in range(2 if is_wide else 1):
        grid.add_column(overflow="fold")
    for _ in range(2):
        grid.add_column(justify="right", overflow="fold")
    if has_bars:
        grid.add_column(overflow="fold")
    for section in card.sections:
        class_name = [console.styled_text(section.class_name)] if is_wide else []
        short = "unknown" if section.parameters is None else short_count(section.parameters)
        count = console.styled_text(section.count) if is_wide else Text(short)
        bar = console.progress_bar(section.parameters or 0, card.total or 0, _MAX_BAR_WIDTH)
        bars = [Text(bar, style=console.BAR, no_wrap=True)] if has_bars else []
        grid.add_row(Text(section.title, style=console.HEADING), *class_name, count, section.percent, *bars)
    if card.total is not None:
        total = exact_count(card.total) if is_wide else short_count(card.total)
        grid.add_row(Text("Total", style=console.FAINT), *([""] if is_wide else []), total + card.mark)
    return grid


def _properties(lines: Sequence[Line], width: int, *, indent: int = console.INDENT) -> RenderableType:
    return console.definition_list(lines, width, indent=indent, min_title=_MIN_TITLE_WIDTH + console.INDENT - indent)
