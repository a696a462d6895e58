"""A fit in a terminal: the verdict first, then what does not fit, by kind and component."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from vlm_inspect.core.load_report import Kind, LoadReport, Mismatch
from vlm_inspect.render.cells import Cell, Layout, Span, text, visible
from vlm_inspect.render.diff_text import ROLE_NAMES
from vlm_inspect.render.terminal.console import FAINT, GAP, HEADING, INDENT, NARROWEST, printed, styled
from vlm_inspect.render.text.values import counted
from vlm_inspect.render.verify import (
    about,
    account,
    component_title,
    heading,
    kind_title,
    kinds,
    name_cell,
    renaming_words,
    verdict,
)

_STYLES = {"ok": "bold green", "mismatch": "bold red", "unknown": "bold yellow"}
_SIGNS: dict[Kind, tuple[str, str]] = {
    "missing": ("-", "red"),
    "unexpected": ("+", "green"),
    "mismatched": ("~", "yellow"),
}
_OTHER_NAME: dict[Kind, str] = {
    "missing": "in the checkpoint it would be",
    "unexpected": "in the model it would be",
    "mismatched": "in the checkpoint",
}
# a list of renamings that is longer is cut: the tables have all of it
_MOST_RENAMINGS = 12


def fit_text(fit: LoadReport, *, width: int = 100, colour: bool = False) -> str:
    """The fit as text, never wider than the terminal, legible without colour."""
    return printed(_parts(fit), Layout(max(width, NARROWEST), colour))


def _parts(fit: LoadReport) -> Iterator[RenderableType]:
    yield Text(visible(heading(fit)), style=HEADING, overflow="fold")
    yield Text(visible(verdict(fit)), style=_STYLES[fit.verdict], overflow="fold")
    yield Text(account(fit), overflow="fold")
    yield from (Text(visible(sentence), style="yellow", overflow="fold") for sentence in fit.uncertain)
    if fit.missing_files:
        yield from _titled("Files that are not there or not whole", _files(fit))
    for kind in kinds(fit):
        misfits = [misfit for misfit in fit.mismatches if misfit.kind == kind]
        if misfits:
            yield from _titled(kind_title(fit, kind), _misfits(misfits))
    if fit.components:
        yield from _titled("Components", [_components(fit)])
    if fit.renamings:
        yield from _titled("Names in the checkpoint → in the model", [_renamings(fit)])
    if fit.notes:
        yield ""
    yield from (Text(visible(note), style=FAINT, overflow="fold") for note in fit.notes)


def _titled(title: str, parts: Sequence[RenderableType]) -> Iterator[RenderableType]:
    yield ""
    yield Text(title, style=HEADING, overflow="fold")
    yield from (Padding(part, (0, 0, 0, INDENT)) for part in parts)


def _files(fit: LoadReport) -> list[RenderableType]:
    rows = [
        (name_cell(file), text(counted(count, "tensor") if count else "tensors unknown"))
        for file, count in fit.missing_files.items()
    ]
    return [_grid(rows)]


def _misfits(misfits: Sequence[Mismatch]) -> list[RenderableType]:
    parts: list[RenderableType] = []
    for title, group in groupby(misfits, key=component_title):
        parts.append(Text(title, style=FAINT))
        parts += [Padding(_misfit(misfit), (0, 0, 0, INDENT)) for misfit in group]
    return parts


def _misfit(misfit: Mismatch) -> RenderableType:
    """Its sign, the name that it is known by, its other name where that is another, and what it is."""
    sign, style = _SIGNS[misfit.kind]
    first, second = (misfit.key, misfit.path) if misfit.kind == "unexpected" else (misfit.path, misfit.key)
    grid = Grid.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True, style=style)
    grid.add_column(overflow="fold")
    grid.add_row(sign, styled(_seen(name_cell(first))))
    if second and second != first:
        grid.add_row("", Text(f"{_OTHER_NAME[misfit.kind]} {visible(second)}", style=FAINT, overflow="fold"))
    grid.add_row("", Text(visible(about(misfit)), overflow="fold"))
    return grid


def _components(fit: LoadReport) -> RenderableType:
    rows = []
    for part in fit.components:
        count = str(part.loaded) if part.expected is None else f"{part.loaded} of {part.expected}"
        rows.append((text(ROLE_NAMES[part.role]), name_cell(part.path or ""), text(f"{count} tensors")))
    return _grid(rows)


def _renamings(fit: LoadReport) -> RenderableType:
    rows = [
        (
            name_cell(each.key),
            text("→"),
            name_cell(each.path),
            renaming_words(each.count, is_converted=each.is_converted),
        )
        for each in fit.renamings[:_MOST_RENAMINGS]
    ]
    rest = len(fit.renamings) - _MOST_RENAMINGS
    if rest > 0:
        rows.append((text(f"and {rest} more"), text(""), text(""), text("")))
    return _grid(rows)


def _grid(rows: Sequence[Sequence[Cell]]) -> RenderableType:
    grid = Grid.grid(padding=(0, GAP, 0, 0))
    for _ in rows[0]:
        grid.add_column(overflow="fold")
    for row in rows:
        grid.add_row(*(styled(_seen(cell)) for cell in row))
    return grid


def _seen(cell: Cell) -> Cell:
    return tuple(Span(visible(span.text), span.code) for span in cell)
