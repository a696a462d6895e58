"""The report of `verify` in a terminal: the verdict, then mismatches by kind and component."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from vlm_inspect.core.load_report import Kind, LoadReport, Mismatch
from vlm_inspect.render.cells import Cell, Layout, escape_control_chars, text
from vlm_inspect.render.diff_text import escape_cell
from vlm_inspect.render.terminal.console import (
    FAINT,
    GAP,
    HEADING,
    INDENT,
    MIN_WIDTH,
    render_text,
    styled_text,
)
from vlm_inspect.render.verify import (
    MISSING_FILES,
    about,
    component_rows,
    component_title,
    heading,
    kind_title,
    kinds,
    missing_file_rows,
    name_cell,
    renaming_rows,
    tensor_counts,
    verdict,
)

_STYLES = {"ok": "bold green", "mismatch": "bold red", "unknown": "bold yellow"}
_SIGNS: dict[Kind, tuple[str, str]] = {
    "missing": ("-", "red"),
    "unexpected": ("+", "green"),
    "mismatched": ("~", "yellow"),
}
_OTHER_NAME: dict[Kind, str] = {
    "missing": "expected checkpoint key",
    "unexpected": "expected model path",
    "mismatched": "checkpoint key",
}
# a longer list is cut; the tables and JSON are complete
_MOST_RENAMINGS = 12


def load_report_text(report: LoadReport, *, width: int = 100, colour: bool = False) -> str:
    """The report as text, never wider than the terminal, readable without colours."""
    return render_text(_report(report), Layout(max(width, MIN_WIDTH), colour))


def _report(report: LoadReport) -> Iterator[RenderableType]:
    yield _escaped(heading(report), HEADING)
    yield _escaped(verdict(report), _STYLES[report.verdict])
    yield _escaped(tensor_counts(report))
    yield from (_escaped(sentence, "yellow") for sentence in report.uncertain)
    if report.missing_files:
        yield from _titled(MISSING_FILES, [_grid(list(missing_file_rows(report)))])
    for kind in kinds(report):
        mismatches = [mismatch for mismatch in report.mismatches if mismatch.kind == kind]
        if mismatches:
            yield from _titled(kind_title(report, kind), _mismatches(mismatches))
    if report.components:
        rows = [(role, path, text(f"{count} tensors")) for role, path, count in component_rows(report)]
        yield from _titled("Components", [_grid(rows)])
    if report.renamings:
        yield from _titled("Renamed keys: checkpoint → model", [_renamings(report)])
    if report.notes:
        yield ""
    yield from (_escaped(note, FAINT) for note in report.notes)


def _titled(title: str, parts: Sequence[RenderableType]) -> Iterator[RenderableType]:
    yield ""
    yield _escaped(title, HEADING)
    yield from (Padding(part, (0, 0, 0, INDENT)) for part in parts)


def _mismatches(mismatches: Sequence[Mismatch]) -> list[RenderableType]:
    parts: list[RenderableType] = []
    for title, group in groupby(mismatches, key=component_title):
        parts.append(Text(title, style=FAINT))
        parts += [Padding(_mismatch(mismatch), (0, 0, 0, INDENT)) for mismatch in group]
    return parts


def _mismatch(mismatch: Mismatch) -> RenderableType:
    """Sign and name, the other name if it differs, then shapes, layers and reason."""
    sign, style = _SIGNS[mismatch.kind]
    names = (mismatch.path, mismatch.key)
    first, second = names[::-1] if mismatch.kind == "unexpected" else names
    grid = Grid.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True, style=style)
    grid.add_column(overflow="fold")
    grid.add_row(sign, styled_text(escape_cell(name_cell(first))))
    if second and second != first:
        grid.add_row("", _escaped(f"{_OTHER_NAME[mismatch.kind]}: {second}", FAINT))
    grid.add_row("", _escaped(about(mismatch)))
    return grid


def _renamings(report: LoadReport) -> RenderableType:
    rows = [(key, text("→"), path, count) for key, path, count in renaming_rows(report)]
    rest = len(rows) - _MOST_RENAMINGS
    if rest > 0:
        rows[_MOST_RENAMINGS:] = [(text(f"and {rest} more"), (), (), ())]
    return _grid(rows)


def _grid(rows: Sequence[Sequence[Cell]]) -> RenderableType:
    grid = Grid.grid(padding=(0, GAP, 0, 0))
    for _ in rows[0]:
        grid.add_column(overflow="fold")
    for row in rows:
        grid.add_row(*(styled_text(escape_cell(cell)) for cell in row))
    return grid


def _escaped(value: str, style: str = "") -> Text:
    return Text(escape_control_chars(value), style=style, overflow="fold")
