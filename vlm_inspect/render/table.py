"""Rows and columns to a Table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from vlm_inspect.core.architecture import Architecture
from vlm_inspect.render.cells import Cell, Row, Table, concat, text
from vlm_inspect.render.columns import Column, Kind, chosen
from vlm_inspect.render.text.values import NOT_ASKED, is_cut
from vlm_inspect.render.text.warnings import MARK, misreading

_TITLES: Mapping[Kind, str] = {"architectures": "Model architectures", "comparison": "Model comparison"}

_FROM_HEADERS = "Read from the names and shapes of its tensors; no code of its repo was run."


def build_table(kind: Kind, rows: Sequence[Row], columns: Sequence[str] | None = None) -> Table:
    """The table of a kind, or of the columns named.

    A row that failed keeps its place and says why. Raises SettingsError for an unknown column.
    """
    selected = chosen(kind, columns)
    return Table(
        headers=tuple(column.title for column in selected),
        rows=tuple(_cells(row, selected) for row in rows),
        title=_TITLES[kind],
        notes=_notes(rows),
    )


def _cells(row: Row, columns: Sequence[Column]) -> tuple[Cell, ...]:
    if row.architecture is not None:
        is_doubtful = bool(row.architecture.ignored_structural_keys)
        return tuple(
            concat(column.cell(row), text(MARK)) if is_doubtful and column.id == "model" else column.cell(row)
            for column in columns
        )
    message = text(f"error: {row.error.message if row.error else 'no record'}")
    place = next((index for index, column in enumerate(columns) if column.id != "model"), None)
    if place is None:  # nothing but the name is shown: it must say why itself
        return tuple(concat(column.cell(row), text(" — "), message) for column in columns)
    return tuple(
        column.cell(row) if column.id == "model" else message if index == place else NOT_ASKED
        for index, column in enumerate(columns)
    )


def _notes(rows: Sequence[Row]) -> tuple[str, ...]:
    """Each sentence once, after the names of the models that it is about; warnings first."""
    names: dict[str, list[str]] = {}
    for row in rows:
        for sentence in _sentences(row.architecture) if row.architecture else ():
            told = names.setdefault(sentence, [])
            if row.name not in told:
                told.append(row.name)
    doubts = ((row.name, misreading(row.architecture)) for row in rows if row.architecture)
    warnings = dict.fromkeys(f"{MARK.strip()} {name}: {doubt}" for name, doubt in doubts if doubt)
    return (*warnings, *(f"{', '.join(who)}: {sentence}" for sentence, who in names.items()))


def _sentences(architecture: Architecture) -> Iterator[str]:
    yield from architecture.notes
    if architecture.builder == "header":  # the notes of the others say what built them
        yield _FROM_HEADERS
    for reasons in (architecture.unknown, architecture.parameters.unknown, *_reasons(architecture)):
        # a short reason is whole in its cell
        yield from (reason for reason in reasons.values() if is_cut(reason))


def _reasons(architecture: Architecture) -> Iterator[Mapping[str, str]]:
    for component in architecture.components:
        yield component.unknown
        for layer in component.layers:
            yield layer.unknown
            yield from (part.unknown for part in (layer.attention, layer.mlp) if part)
