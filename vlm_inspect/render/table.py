"""Rows and columns to a Table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from vlm_inspect.core.architecture import Architecture
from vlm_inspect.render.cells import Cell, Row, Table, concat, text
from vlm_inspect.render.columns import Column, Kind, select_columns
from vlm_inspect.render.text.values import NOT_APPLICABLE, UNCERTAIN, is_truncated
from vlm_inspect.render.text.warnings import MARK, ignored_keys_warning

_TITLES: Mapping[Kind, str] = {"architectures": "Model architectures", "comparison": "Model comparison"}


def build_table(kind: Kind, rows: Sequence[Row], columns: Sequence[str] | None = None) -> Table:
    """The table of a kind; a model that could not be inspected has a row with its error.

    Raises SettingsError if there is no column of that name.
    """
    selected = select_columns(kind, columns)
    cells = tuple(_error_cells(row, selected) or _cells(row, selected) for row in rows)
    return Table(tuple(column.title for column in selected), cells, _TITLES[kind], _notes(rows))


def _cells(row: Row, columns: Sequence[Column]) -> tuple[Cell, ...]:
    has_warning = row.architecture is not None and bool(row.architecture.ignored_structural_keys)
    return tuple(
        concat(column.cell(row), text(MARK)) if has_warning and column.id == "model" else column.cell(row)
        for column in columns
    )


def _error_cells(row: Row, columns: Sequence[Column]) -> tuple[Cell, ...] | None:
    """The cells of a row without a record: the error is in the first column that is not the name."""
    if row.architecture is not None:
        return None
    message = text(f"error: {row.error.message if row.error else 'no record'}")
    position = next((index for index, column in enumerate(columns) if column.id != "model"), None)
    if position is None:  # the name is the only column
        return tuple(concat(column.cell(row), text(" — "), message) for column in columns)
    return tuple(
        column.cell(row) if column.id == "model" else message if index == position else NOT_APPLICABLE
        for index, column in enumerate(columns)
    )


def _notes(rows: Sequence[Row]) -> tuple[str, ...]:
    """Warnings, then each different sentence after the names of its models."""
    models: dict[str, dict[str, None]] = {}
    warnings: dict[str, None] = {}
    for row in rows:
        if row.architecture is None:
            continue
        if warning := ignored_keys_warning(row.architecture):
            warnings[f"{MARK.strip()} {row.name}: {warning}"] = None
        if reason := row.architecture.parameters.uncertain:
            warnings[f"{UNCERTAIN.strip()} {row.name}: {reason}"] = None
        for sentence in _sentences(row.architecture):
            models.setdefault(sentence, {})[row.name] = None
    return (*warnings, *(f"{', '.join(names)}: {sentence}" for sentence, names in models.items()))


def _sentences(architecture: Architecture) -> Iterator[str]:
    """The notes of a record, and the reasons that are truncated in their cells."""
    yield from architecture.notes
    if architecture.builder == "header":  # the notes of other builders name the builder
        yield "Read from the names and shapes of its tensors; no code of its repo was run."
    unknowns = [architecture.unknown, architecture.parameters.unknown]
    for component in architecture.components:
        unknowns.append(component.unknown)
        for layer in component.layers:
            unknowns += [part.unknown for part in (layer, layer.attention, layer.mlp) if part]
    for reasons in unknowns:
        yield from filter(is_truncated, reasons.values())
