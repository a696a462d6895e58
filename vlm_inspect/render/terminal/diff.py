"""The report of `diff` in a terminal: before and after in two columns, or one below the other if narrow.

A sign in front of each line means the same as its colour.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct
from rich.cells import cell_len
from rich.console import RenderableType
from rich.table import Table as Grid
from rich.text import Text

from vlm_inspect.render.cells import Cell, Layout, concat, plain_text, text
from vlm_inspect.render.diff import SIGNS, Line, Report, Section, Sign, SignedCell
from vlm_inspect.render.terminal import console

_STYLES: dict[Sign, str] = {"~": "yellow", "+": "green", "-": "red", ">": "cyan", "?": "yellow", "": ""}
_OLD, _NEW = "red", "green"
_SIGN = 2
# narrower values, and those with longer words, go below the name of their fact
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
    width = max(width, console.MIN_WIDTH)
    return console.render_text(_report(report, _columns(report, width)), Layout(width, colour))


def _report(report: Report, columns: _Columns) -> Iterator[RenderableType]:
    if report.empty:
        yield console.plain_line(report.summary)
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
        yield _with_sign(SIGNS[section.state], _one_line(section))
    if report.total:
        yield ""
        yield _total(report.total, columns)
    incomparable = [
        SignedCell("?", concat(text(f"{owner}: "), names, text(" — "), why))
        for owner, names, why in report.incomparable
    ]
    for title, paths in (
        ("Moved", report.moves),
        ("Modules and tensors", report.paths),
        ("Not comparable", incomparable),
    ):
        yield from console.titled(title, [_with_sign(path.sign, console.styled_text(path.cell)) for path in paths])
    yield ""
    yield Text(report.summary, style=console.HEADING)


def _columns(report: Report, width: int) -> _Columns:
    lines = [line for section in report.sections for line in section.shown_lines]
    if lines and report.total:
        lines.append(report.total)
    title = min(max((len(line.title) for line in lines), default=0), _WIDEST_TITLE)
    room = width - console.INDENT - _SIGN - title - 2 * console.GAP
    before = max((console.cell_width(line.before) for line in lines), default=0)
    # a name that is cut in two cannot be searched for
    words = (word for line in lines for cell in (line.before, line.after) for word in plain_text(cell).split())
    longest = max((cell_len(word) for word in words), default=0)
    return _Columns(title, min(before, room // 2), width, room // 2 >= max(longest, _NARROWEST_VALUE))


def _header(report: Report, columns: _Columns) -> Iterator[RenderableType]:
    names = Grid.grid(padding=(0, 1, 0, 0))
    names.add_column(no_wrap=True)
    names.add_column(no_wrap=True, style=console.FAINT)
    names.add_column(overflow="fold")
    names.add_row(Text("-", style=_OLD), "before", console.plain_line(report.before, _OLD))
    names.add_row(Text("+", style=_NEW), "after", console.plain_line(report.after, _NEW))
    yield names
    if report.versions:
        yield _with_sign("", console.plain_line(report.versions, console.FAINT))
    if columns.are_two and any(section.lines for section in report.sections):
        yield ""
        headers = Line("", "", text("before"), text("after"))
        yield console.indented(_two_columns([headers], columns, console.FAINT, console.FAINT))


def _section(section: Section, columns: _Columns) -> Iterator[RenderableType]:
    heading = _section_title(section)
    if section.path:
        heading.append("  ").append_text(console.styled_text(section.path, console.FAINT))
    yield _with_sign(SIGNS[section.state], heading)
    if columns.are_two:
        yield console.indented(_two_columns(section.shown_lines, columns, _OLD, _NEW))
    else:
        yield console.indented(_one_column(section.shown_lines, columns.width - console.INDENT - _SIGN))


def _two_columns(lines: Sequence[Line], columns: _Columns, old: str, new: str) -> Grid:
    grid = Grid.grid(padding=(0, console.GAP, 0, 0))
    grid.add_column(width=_SIGN - 1, no_wrap=True)
    grid.add_column(width=columns.title, overflow="fold")
    grid.add_column(width=columns.value, overflow="fold")
    grid.add_column(overflow="fold")
    for line in lines:
        differs = line.after not in {(), line.before}
        after = _value(line.after, new if differs else console.FAINT)
        if line.delta:
            after.append(f"  {line.delta}", style=console.FAINT)
        before = _value(line.before, old if differs else console.FAINT)
        grid.add_row(Text(line.sign, style=_STYLES[line.sign]), console.plain_line(line.title), before, after)
    return grid


def _one_column(lines: Sequence[Line], room: int) -> Grid:
    """A line for each fact; if it is too long, before and after are below its name."""
    grid = Grid.grid()
    grid.add_column(overflow="fold")
    for line in lines:
        whole = _whole_line(line)
        if whole.cell_len <= room:
            grid.add_row(_with_sign(line.sign, whole))
            continue
        delta = Text(f"  {line.delta}" if line.delta else "", style=console.FAINT)
        grid.add_row(_with_sign(line.sign, console.plain_line(line.title)))
        grid.add_row(console.indented(_with_sign("-", _value(line.before, _OLD))))
        grid.add_row(console.indented(_with_sign("+", _value(line.after, _NEW).append_text(delta))))
    return grid


def _whole_line(line: Line) -> Text:
    """`layers  24 → 27`."""
    whole = console.plain_line(line.title).append("  ")
    if line.after in {(), line.before}:
        return whole.append_text(_value(line.before, console.FAINT))
    whole.append_text(_value(line.before, _OLD)).append(" → ").append_text(_value(line.after, _NEW))
    return whole.append(f"  {line.delta}" if line.delta else "", style=console.FAINT)


def _one_line(section: Section) -> Text:
    """`Language model  LlamaModel, 32 layers, 7.50B  unchanged`."""
    line = _section_title(section).append("  ").append_text(console.styled_text(section.description, console.FAINT))
    return line.append(f"  {section.state}", style=_STYLES[SIGNS[section.state]] or console.FAINT)


def _section_title(section: Section) -> Text:
    return Text(overflow="fold").append_text(console.plain_line(section.title, console.HEADING))


def _total(total: Line, columns: _Columns) -> RenderableType:
    fits_title = columns.are_two and columns.title >= len(total.title)
    if fits_title and min(columns.value, columns.width) >= console.cell_width(total.before):
        return console.indented(_two_columns([total], columns, _OLD, _NEW))
    return _one_column([total], columns.width)


def _with_sign(sign: Sign, line: Text) -> RenderableType:
    """A sign, and text that is wrapped with a hanging indent."""
    grid = Grid.grid()
    grid.add_column(width=_SIGN, no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(Text(sign, style=_STYLES[sign]), line)
    return grid


def _value(cell: Cell, style: str) -> Text:
    return console.plain_line(plain_text(cell), style)
