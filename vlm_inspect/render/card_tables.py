"""A card as tables, for Markdown and HTML."""

from __future__ import annotations

from collections.abc import Sequence

from vlm_inspect.render.card import Card
from vlm_inspect.render.cells import Cell, Table, code, join, plain, text
from vlm_inspect.render.component_lines import Line
from vlm_inspect.render.figures import exact_count
from vlm_inspect.render.states import ABSENT, NOT_ASKED, unknown


def card_tables(card: Card) -> tuple[Table, ...]:
    """The model, its components, their details, tied parameters and evidence."""
    candidates = (
        _about(card),
        _components(card),
        _details(card),
        _single("Tied parameters", "Counted once", card.ties),
        _evidence(card),
    )
    return tuple(table for table in candidates if table.rows)


def _about(card: Card) -> Table:
    warning: tuple[Line, ...] = (("Warning", text(card.warning)),) if card.warning else ()
    lines: tuple[Line, ...] = (("Summary", card.headline), *warning, *card.about)
    return Table(("Model", "Value"), _rows(lines), title=card.name)


def _components(card: Card) -> Table:
    rows = [
        (text(section.title), section.class_name, _paths(section.paths), section.count, text(section.percent))
        for section in card.sections
    ]
    rows += [(text(name), ABSENT, NOT_ASKED, NOT_ASKED, NOT_ASKED) for name, _ in card.absent]
    rows += [
        (text(name), unknown(plain(reason)), NOT_ASKED, NOT_ASKED, NOT_ASKED) for name, reason in card.unknown
    ]
    if card.total is not None:
        rows.append((text("Total"), NOT_ASKED, NOT_ASKED, text(exact_count(card.total)), text("100.0 %")))
    headers = ("Component", "Class", "Path", "Parameters", "Share")
    return Table(headers, tuple(rows), title="Components", notes=card.notes)


def _details(card: Card) -> Table:
    rows = [
        (text(section.title), text(label.strip()), cell)
        for section in card.sections
        for label, cell in section.lines
    ]
    return Table(("Component", "Property", "Value"), tuple(rows), title="Details")


def _evidence(card: Card) -> Table:
    rows = [(text(section.title), text(why)) for section in card.sections for why in section.evidence]
    return Table(("Component", "Why"), tuple(rows), title="Evidence")


def _single(title: str, header: str, cells: Sequence[Cell]) -> Table:
    return Table((header,), tuple((cell,) for cell in cells), title=title)


def _rows(lines: Sequence[Line]) -> tuple[tuple[Cell, ...], ...]:
    return tuple((text(label), cell) for label, cell in lines)


def _paths(paths: Sequence[str]) -> Cell:
    return join((code(path) for path in paths), ", ") if paths else NOT_ASKED
