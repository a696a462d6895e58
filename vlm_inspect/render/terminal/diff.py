"""The report of `diff` in a terminal: before and after in two columns, or one below the other if narrow.

A sign in front of each line means the same as its colour.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from vlm_inspect.render.cells import Cell, Layout, concat, escape_control_chars, plain_text, text
from vlm_inspect.render.diff import SIGNS, Line, Report, Section, Sign, SignedCell
from vlm_inspect.render.diff_text import escape_cell
from vlm_inspect.render.terminal.console import (
    FAINT,
    GAP,
    HEADING,
    INDENT,
    MIN_WIDTH,
    cell_width,
    render_text,
    styled_text,
)

_STYLES: dict[Sign, str] = {"~": "yellow", "+": "green", "-": "red", ">": "cyan", "?": "yellow", "": ""}
_OLD, _NEW = "red", "green"
_SIGN = 2
# narrower values go below the name of their fact
_NARROWEST_VALUE = 20
_WIDEST_TITLE = 28


class _Columns(Struct, frozen=True):
    """The widths of the columns of all sections."""

    title: int
    value: int
    width: int
    """The width of the terminal."""
    are_two: bool
    """Whether before and after are in two columns."""


def difference_text(report: Report, *, width: int = 100, colour: bool = False) -> str:
    """The report as text, never wider than the terminal, readable without colours."""
    width = max(width, MIN_WIDTH)
    return render_text(_report(report, _columns(report, width)), Layout(width, colour))


def _report(report: Report, columns: _Columns) -> Iterator[RenderableType]:
    if report.empty:
        yield _escaped(report.summary)
        return
    yield from _header(report, columns)
    for section in report.sections:
        if section.lines:
            yield ""
            yield from _section(section, columns)
    unchanged = [section for section in report.sections if not section.lines]
    if unchanged:
        yield ""
    for section in unchanged:
        yield _with_sign(SIGNS[section.state], _one_line(section), 0)
    if report.total:
        yield ""
        yield _total(report.total, columns)
    yield from _paths("Moved", report.moves)
    yield from _paths("Modules and parameters", report.paths)
    reasons = (
        SignedCell("?", concat(text(f"{owner}: "), names, text(" — "), why))
        for owner, names, why in report.incomparable
    )
    yield from _paths("Not comparable", tuple(reasons))
    yield ""
    yield Text(report.summary, style=HEADING)


def _columns(report: Report, width: int) -> _Columns:
    lines = [line for section in report.sections for line in _section_lines(section)]
    if lines and report.total:
        lines.append(report.total)
    title = min(max((len(line.title) for line in lines), default=0), _WIDEST_TITLE)
    room = width - INDENT - _SIGN - title - 2 * GAP
    before = max((cell_width(escape_cell(line.before)) for line in lines), default=0)
    return _Columns(title, min(before, room // 2), width, room // 2 >= _NARROWEST_VALUE)


def _section_lines(section: Section) -> Sequence[Line]:
    """The lines of a section with changed facts, its parameters last."""
    if not section.lines:
        return ()
    return (*section.lines, section.parameters) if section.parameters else section.lines


def _header(report: Report, columns: _Columns) -> Iterator[RenderableType]:
    names = Grid.grid(padding=(0, 1, 0, 0))
    names.add_column(no_wrap=True)
    names.add_column(no_wrap=True, style=FAINT)
    names.add_column(overflow="fold")
    names.add_row(Text("-", style=_OLD), "before", _escaped(report.before, _OLD))
    names.add_row(Text("+", style=_NEW), "after", _escaped(report.after, _NEW))
    yield names
    if report.versions:
        yield _with_sign("", _escaped(report.versions, FAINT), 0)
    if columns.are_two and any(section.lines for section in report.sections):
        yield ""
        headers = Line("", "", text("before"), text("after"))
        yield Padding(_two_columns([headers], columns, FAINT, FAINT), (0, 0, 0, INDENT))


def _section(section: Section, columns: _Columns) -> Iterator[RenderableType]:
    heading = Text(overflow="fold")
    heading.append(escape_control_chars(section.title), style=HEADING)
    if section.path:
        heading.append("  ")
        heading.append_text(styled_text(escape_cell(section.path), FAINT))
    yield _with_sign(SIGNS[section.state], heading, 0)
    lines = _section_lines(section)
    grid = (
        _two_columns(lines, columns, _OLD, _NEW)
        if columns.are_two
        else _one_column(lines, columns.width - INDENT - _SIGN)
    )
    yield Padding(grid, (0, 0, 0, INDENT))


def _two_columns(lines: Sequence[Line], columns: _Columns, old: str, new: str) -> Grid:
    grid = Grid.grid(padding=(0, GAP, 0, 0))
    grid.add_column(width=_SIGN - 1, no_wrap=True)
    grid.add_column(width=columns.title, overflow="fold")
    grid.add_column(width=columns.value, overflow="fold")
    grid.add_column(overflow="fold")
    for line in lines:
        differs = line.after not in {(), line.before}
        after = _value(line.after, new if differs else FAINT)
        if line.delta:
            after.append(f"  {line.delta}", style=FAINT)
        before = _value(line.before, old if differs else FAINT)
        grid.add_row(_sign(line.sign), _escaped(line.title), before, after)
    return grid


def _one_column(lines: Sequence[Line], room: int) -> Grid:
    """A line for each fact; if it is too long, before and after are below its name."""
    grid = Grid.grid()
    grid.add_column(overflow="fold")
    for line in lines:
        whole = _whole_line(line)
        if whole.cell_len <= room:
            grid.add_row(_with_sign(line.sign, whole, 0))
            continue
        delta = Text(f"  {line.delta}" if line.delta else "", style=FAINT)
        grid.add_row(_with_sign(line.sign, _escaped(line.title), 0))
        grid.add_row(_with_sign("-", _value(line.before, _OLD), INDENT))
        grid.add_row(_with_sign("+", _value(line.after, _NEW).append_text(delta), INDENT))
    return grid


def _whole_line(line: Line) -> Text:
    """`layers  24 → 27`."""
    whole = _escaped(line.title)
    whole.append("  ")
    if line.after in {(), line.before}:
        return whole.append_text(_value(line.before, FAINT))
    whole.append_text(_value(line.before, _OLD)).append(" → ").append_text(_value(line.after, _NEW))
    return whole.append(f"  {line.delta}" if line.delta else "", style=FAINT)


def _one_line(section: Section) -> Text:
    """`Language model  LlamaModel, 32 layers, 7.50B  unchanged`."""
    line = Text(overflow="fold")
    line.append(escape_control_chars(section.title), style=HEADING)
    line.append("  ")
    line.append_text(styled_text(escape_cell(section.about), FAINT))
    return line.append(f"  {section.state}", style=_STYLES[SIGNS[section.state]] or FAINT)


def _total(total: Line, columns: _Columns) -> RenderableType:
    fits_title = columns.are_two and columns.title >= len(total.title)
    if fits_title and min(columns.value, columns.width) >= cell_width(total.before):
        return Padding(_two_columns([total], columns, _OLD, _NEW), (0, 0, 0, INDENT))
    return _one_column([total], columns.width)


def _paths(title: str, paths: Sequence[SignedCell]) -> Iterator[RenderableType]:
    if paths:
        yield ""
        yield Text(title, style=HEADING)
    for path in paths:
        yield _with_sign(path.sign, styled_text(escape_cell(path.cell)), INDENT)


def _with_sign(sign: Sign, line: Text, indent: int) -> RenderableType:
    """A sign, and text that is wrapped with a hanging indent."""
    grid = Grid.grid()
    grid.add_column(width=_SIGN, no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(_sign(sign), line)
    return Padding(grid, (0, 0, 0, indent))


def _sign(sign: Sign) -> Text:
    return Text(sign, style=_STYLES[sign])


def _value(cell: Cell, style: str) -> Text:
    return _escaped(plain_text(cell), style)


def _escaped(value: str, style: str = "") -> Text:
    return Text(escape_control_chars(value), style=style, overflow="fold")
