"""A difference in a terminal: before and after side by side, or below each other where it is narrow.

A sign in front says what the colours say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from vlm_inspect.render.cells import Cell, Layout, Span, concat, text, visible
from vlm_inspect.render.diff import SIGNS, Line, Report, Section, Sign, Signed
from vlm_inspect.render.terminal.console import FAINT, HEADING, NARROWEST, printed, styled, width_of

_STYLES: dict[Sign, str] = {"~": "yellow", "+": "green", "-": "red", ">": "cyan", "?": "yellow", "": ""}
_OLD, _NEW = "red", "green"
_GAP = 2
_INDENT = 2
_SIGN = 2
# a value that has less room than this goes below its fact's name
_NARROWEST_VALUE = 20
_WIDEST_TITLE = 28


class _Columns(Struct, frozen=True):
    """How wide the columns of all sections are; none where before and after stand below each other."""

    title: int
    value: int
    width: int
    is_wide: bool


def difference_text(report: Report, *, width: int = 100, colour: bool = False) -> str:
    """The report as text, never wider than the terminal, legible without colour."""
    width = max(width, NARROWEST)
    return printed(_parts(report, _columns(report, width)), Layout(width, colour))


def _parts(report: Report, columns: _Columns) -> Iterator[RenderableType]:
    if report.empty:
        yield _words(report.summary)
        return
    yield from _header(report, columns)
    for section in report.sections:
        if section.lines:
            yield ""
            yield from _section(section, columns)
    folded = [section for section in report.sections if not section.lines]
    if folded:
        yield ""
    for section in folded:
        yield _hanging(SIGNS[section.state], _folded(section), 0)
    if report.total:
        yield ""
        yield from _total(report.total, columns)
    yield from _group("Moved", report.moves)
    yield from _group("Modules and parameters", report.paths)
    if report.incomparable:
        yield ""
        yield Text("Not comparable", style=HEADING)
    for whose, names, why in report.incomparable:
        yield _hanging("?", styled(_seen(concat(text(f"{whose}: "), names, text(" — "), why))), _INDENT)
    yield ""
    yield Text(report.summary, style=HEADING)


def _columns(report: Report, width: int) -> _Columns:
    lines = [line for section in report.sections for line in _rows(section)]
    if lines and report.total:
        lines.append(report.total)
    title = min(max((len(line.title) for line in lines), default=0), _WIDEST_TITLE)
    room = width - _INDENT - _SIGN - title - 2 * _GAP
    before = max((width_of(_seen(line.before)) for line in lines), default=0)
    return _Columns(title, min(before, room // 2), width, room // 2 >= _NARROWEST_VALUE)


def _rows(section: Section) -> Sequence[Line]:
    """The lines of a section that is not folded, its parameters last."""
    if not section.lines:
        return ()
    return (*section.lines, section.parameters) if section.parameters else section.lines


def _header(report: Report, columns: _Columns) -> Iterator[RenderableType]:
    names = Grid.grid(padding=(0, 1, 0, 0))
    names.add_column(no_wrap=True)
    names.add_column(no_wrap=True, style=FAINT)
    names.add_column(overflow="fold")
    names.add_row(Text("-", style=_OLD), "before", _words(report.before, _OLD))
    names.add_row(Text("+", style=_NEW), "after", _words(report.after, _NEW))
    yield names
    if report.versions:
        yield _hanging("", _words(report.versions, FAINT), 0)
    if columns.is_wide and any(section.lines for section in report.sections):
        yield ""
        heads = Line("", "", text("before"), text("after"))
        yield Padding(_beside([heads], columns, FAINT, FAINT), (0, 0, 0, _INDENT))


def _section(section: Section, columns: _Columns) -> Iterator[RenderableType]:
    sign = SIGNS[section.state]
    heading = Text(overflow="fold")
    heading.append(visible(section.title), style=HEADING)
    if section.path:
        heading.append("  ")
        heading.append_text(styled(_seen(section.path), FAINT))
    yield _hanging(sign, heading, 0)
    rows = _rows(section)
    grid = (
        _beside(rows, columns, _OLD, _NEW)
        if columns.is_wide
        else _stacked(rows, columns.width - _INDENT - _SIGN)
    )
    yield Padding(grid, (0, 0, 0, _INDENT))


def _beside(lines: Sequence[Line], columns: _Columns, old: str, new: str) -> Grid:
    grid = Grid.grid(padding=(0, _GAP, 0, 0))
    grid.add_column(width=_SIGN - 1, no_wrap=True)
    grid.add_column(width=columns.title, overflow="fold")
    grid.add_column(width=columns.value, overflow="fold")
    grid.add_column(overflow="fold")
    grid.padding = (0, _GAP, 0, 0)
    for line in lines:
        differs = line.after not in {(), line.before}
        after = _value(line.after, new if differs else FAINT)
        if line.beside:
            after.append(f"  {line.beside}", style=FAINT)
        before = _value(line.before, old if differs else FAINT)
        grid.add_row(_sign(line.sign), _words(line.title), before, after)
    return grid


def _stacked(lines: Sequence[Line], room: int) -> Grid:
    """A fact in a line; one that is longer, with before and after below its name."""
    grid = Grid.grid()
    grid.add_column(overflow="fold")
    for line in lines:
        told = _in_one(line)
        if told.cell_len <= room:
            grid.add_row(_hanging(line.sign, told, 0))
            continue
        beside = Text(f"  {line.beside}" if line.beside else "", style=FAINT)
        grid.add_row(_hanging(line.sign, _words(line.title), 0))
        grid.add_row(_hanging("-", _value(line.before, _OLD), _INDENT))
        grid.add_row(_hanging("+", _value(line.after, _NEW).append_text(beside), _INDENT))
    return grid


def _in_one(line: Line) -> Text:
    """`layers  24 → 27`."""
    told = _words(line.title)
    told.append("  ")
    if line.after in {(), line.before}:
        return told.append_text(_value(line.before, FAINT))
    told.append_text(_value(line.before, _OLD)).append(" → ").append_text(_value(line.after, _NEW))
    return told.append(f"  {line.beside}" if line.beside else "", style=FAINT)


def _folded(section: Section) -> Text:
    """`Language model  LlamaModel, 32 layers, 7.50B  unchanged`."""
    told = Text(overflow="fold")
    told.append(visible(section.title), style=HEADING)
    told.append("  ")
    told.append_text(styled(_seen(section.about), FAINT))
    told.append(f"  {section.state}", style=_STYLES[SIGNS[section.state]] or FAINT)
    return told


def _total(total: Line, columns: _Columns) -> Iterator[RenderableType]:
    is_beside = columns.is_wide and columns.title >= len(total.title)
    has_room = min(columns.value, columns.width) >= width_of(total.before)
    grid = (
        _beside([total], columns, _OLD, _NEW) if is_beside and has_room else _stacked([total], columns.width)
    )
    yield Padding(grid, (0, 0, 0, _INDENT if is_beside and has_room else 0))


def _group(title: str, told: Sequence[Signed]) -> Iterator[RenderableType]:
    if told:
        yield ""
        yield Text(title, style=HEADING)
    for each in told:
        yield _hanging(each.sign, styled(_seen(each.cell)), _INDENT)


def _hanging(sign: Sign, words: Text, indent: int) -> RenderableType:
    """A sign, and words that are wrapped beside it."""
    grid = Grid.grid()
    grid.add_column(width=_SIGN, no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(_sign(sign), words)
    return Padding(grid, (0, 0, 0, indent))


def _sign(sign: Sign) -> Text:
    return Text(sign, style=_STYLES[sign])


def _value(cell: Cell, style: str) -> Text:
    return Text("".join(span.text for span in _seen(cell)), style=style, overflow="fold")


def _seen(cell: Cell) -> Cell:
    return tuple(Span(visible(span.text), span.code, span.href) for span in cell)


def _words(value: str, style: str = "") -> Text:
    return Text(visible(value), style=style, overflow="fold")
