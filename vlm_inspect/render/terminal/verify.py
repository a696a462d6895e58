"""The report of `verify` in a terminal: the verdict, then mismatches by kind and component."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.console import RenderableType
from rich.table import Table as Grid
from rich.text import Text

from vlm_inspect.core.load_report import Kind, LoadReport, Mismatch
from vlm_inspect.render import verify
from vlm_inspect.render.cells import Cell, Layout, text
from vlm_inspect.render.terminal import console

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
    return console.render_text(_report(report), Layout(width, colour))


def _report(report: LoadReport) -> Iterator[RenderableType]:
    yield console.plain_line(verify.heading(report), console.HEADING)
    yield console.plain_line(verify.verdict(report), _STYLES[report.verdict])
    yield from (console.plain_line(cause, console.WARNING) for cause in report.causes)
    yield console.plain_line(verify.tensor_counts(report))
    if report.head:
        yield console.plain_line(report.head)
    yield from (console.plain_line(sentence, "yellow") for sentence in report.uncertain)
    if report.missing_files:
        yield from console.titled(verify.MISSING_FILES, [_grid(list(verify.missing_file_rows(report)))])
    for title, mismatches in verify.mismatches_by_kind(report):
        yield from console.titled(title, list(_mismatches(mismatches)))
    if report.components:
        rows = [(role, path, text(f"{count} tensors")) for role, path, count in verify.component_rows(report)]
        yield from console.titled("Components", [_grid(rows)])
    if report.renamings:
        yield from console.titled("Renamed keys: checkpoint → model", [_renamings(report)])
    if report.notes:
        yield ""
    yield from (console.plain_line(note, console.FAINT) for note in report.notes)


def _mismatches(mismatches: Sequence[Mismatch]) -> Iterator[RenderableType]:
    for title, group in groupby(mismatches, key=verify.component_title):
        yield Text(title, style=console.FAINT)
        yield from (console.indented(_mismatch(mismatch)) for mismatch in group)


def _mismatch(mismatch: Mismatch) -> RenderableType:
    """Sign and name, the other name if it differs, then shapes, layers and reason."""
    sign, style = _SIGNS[mismatch.kind]
    names = (mismatch.path, mismatch.key)
    first, second = names[::-1] if mismatch.kind == "unexpected" else names
    grid = Grid.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True, style=style)
    grid.add_column(overflow="fold")
    grid.add_row(sign, console.styled_text(verify.name_cell(first)))
    if second and second != first:
        grid.add_row("", console.plain_line(f"{_OTHER_NAME[mismatch.kind]}: {second}", console.FAINT))
    grid.add_row("", console.plain_line(verify.about(mismatch)))
    return grid


def _renamings(report: LoadReport) -> RenderableType:
    rows = [(key, text("→"), path, count) for key, path, count in verify.renaming_rows(report)]
    rest = len(rows) - _MOST_RENAMINGS
    if rest > 0:
        rows[_MOST_RENAMINGS:] = [(text(f"and {rest} more"), (), (), ())]
    return _grid(rows)


def _grid(rows: Sequence[Sequence[Cell]]) -> RenderableType:
    grid = Grid.grid(padding=(0, console.GAP, 0, 0))
    for _ in rows[0]:
        grid.add_column(overflow="fold")
    for row in rows:
        grid.add_row(*map(console.styled_text, row))
    return grid
