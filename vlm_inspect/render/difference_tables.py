"""A difference as tables, for HTML; Markdown shares the table of changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from vlm_inspect.render.cells import Cell, Table, concat, text
from vlm_inspect.render.difference import Line, Report, Section, Signed
from vlm_inspect.render.states import NOT_ASKED

_WORDS = {"~": "changed", "+": "added", "-": "removed", ">": "moved", "?": "unknown", "": "unchanged"}


def difference_tables(report: Report) -> tuple[Table, ...]:
    """What differs, the components, what moved, and what could not be compared."""
    candidates = (
        _summary(report),
        changes_table(report),
        _components(report),
        _signed("Moved", "Move", report.moves),
        _signed("Modules and parameters", "Path", report.paths),
        _incomparable(report),
    )
    return tuple(table for table in candidates if table.rows)


def changes_table(report: Report) -> Table:
    """The facts that differ, and the parameters of their components."""
    rows = [row for section in report.sections for row in _rows(section)]
    if rows and report.total and report.total.before != report.total.after:
        rows.append(_row("Model", replace(report.total, title="parameters")))
    return Table(("Component", "Fact", "Before", "After"), tuple(rows), title="Changes")


def _summary(report: Report) -> Table:
    rows = [("Before", report.before), ("After", report.after), ("Summary", report.summary)]
    if report.versions:
        rows.insert(2, ("Libraries", report.versions))
    return Table(
        ("Difference", "Value"), tuple((text(name), text(value)) for name, value in rows), "Difference"
    )


def _rows(section: Section) -> Iterator[tuple[Cell, ...]]:
    for line in section.lines:
        yield _row(section.title, line)
    if section.lines and section.parameters:
        yield _row(section.title, section.parameters)


def _row(title: str, line: Line) -> tuple[Cell, ...]:
    after = concat(line.after, text(f" ({line.beside})")) if line.beside else line.after
    return text(title), text(line.title), line.before, after or NOT_ASKED


def _components(report: Report) -> Table:
    rows = [
        (text(section.title), section.path or NOT_ASKED, section.about, text(section.state))
        for section in report.sections
        if section.about
    ]
    return Table(("Component", "Path", "What it is", "State"), tuple(rows), title="Components")


def _signed(title: str, header: str, entries: Sequence[Signed]) -> Table:
    rows = tuple((each.cell, text(_WORDS[each.sign])) for each in entries)
    return Table((header, "State"), rows, title=title)


def _incomparable(report: Report) -> Table:
    rows = tuple((text(whose), names, why) for whose, names, why in report.incomparable)
    return Table(("Component", "Facts", "Why"), rows, title="Not comparable")
