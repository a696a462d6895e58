"""What a configuration means: names that must be known, and must not be used twice."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from vlm_inspect.errors import InvalidReferenceError
from vlm_inspect.ref import ModelRef
from vlm_inspect.settings.files import PYPROJECT, SECTION, absolute, section_of
from vlm_inspect.settings.places import Place, quoted
from vlm_inspect.settings.records import (
    FactValue,
    ModelEntry,
    Settings,
    TableEntry,
    Vocabulary,
    entry_of,
    find_model,
)
from vlm_inspect.settings.shapes import Fact, FileShape, ModelShape, TableShape, converted, shaped

# The same as the name in a marker of documents/markers.py, in a room that this one may not import.
_TABLE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")


class _Known(Struct, frozen=True):
    """What the names in a file are checked against."""

    root: Path
    vocabulary: Vocabulary
    models: tuple[ModelEntry, ...] = ()


def checked(path: Path, data: Any, vocabulary: Vocabulary) -> Settings:
    """The configuration of a file, out of its TOML."""
    place = Place(path)
    _check_top(data, place)
    shape = shaped(data, FileShape, place)
    root = absolute(path).parent
    known = _Known(root, vocabulary)
    models = tuple(_model(raw, at, known) for at, raw in place.at("models").each(shape.models))
    _refuse_shared_names(models, place)
    known = _Known(root, vocabulary, models)
    tables = {
        name: _table(name, raw, place.at("tables").at(name), known) for name, raw in shape.tables.items()
    }
    return Settings(
        path=path,
        root=root,
        models=models,
        tables=tables,
        files=tuple(root / file for file in shape.files),
        snapshots=root / shape.snapshots,
    )


def _check_top(data: Any, place: Place) -> None:
    """Say of a section in the wrong file, or one that is none, what it is."""
    if not isinstance(data, dict):
        raise Place(place.path, SECTION).wrong("expected a table.")
    if place.path.name != PYPROJECT and section_of(data) is not None:
        raise place.at("tool").wrong(
            f"only a {PYPROJECT} has a section [{SECTION}].",
            hint=f"In {place.path.name} write the keys without it: [[models]], [tables.NAME].",
        )


def _model(data: Any, place: Place, known: _Known) -> ModelEntry:
    shape = shaped(data, ModelShape, place)
    stated = entry_of(shape.id, known.root)
    if stated.revision and shape.revision and stated.revision != shape.revision:
        raise place.at("revision").wrong(
            f"the id names revision {quoted(stated.revision)}. Keep one of the two."
        )
    facts_place = place.at("facts")
    facts = {
        key: _fact(key, value, facts_place.at(key), known.vocabulary) for key, value in shape.facts.items()
    }
    entry = ModelEntry(stated.id, shape.revision or stated.revision, shape.alias, facts)
    _check_reference(entry, place.at("id"), known.root)
    return entry


def _fact(key: str, value: Any, place: Place, vocabulary: Vocabulary) -> FactValue:
    if key not in vocabulary.facts:
        raise place.unknown("fact", key, vocabulary.facts)
    fact: FactValue = converted(value, Fact, place)
    if isinstance(fact, float) and not math.isfinite(fact):
        raise place.wrong("expected a number, got one that is not finite.")
    return fact


def _check_reference(entry: ModelEntry, place: Place, root: Path) -> None:
    try:
        ModelRef.parse(entry.reference(root), entry.revision)
    except InvalidReferenceError as error:
        raise place.wrong(error.message, hint=error.hint) from error


def _refuse_shared_names(models: tuple[ModelEntry, ...], place: Place) -> None:
    """Every name must lead to one model."""
    owners: dict[str, str] = {}
    for at, model in place.at("models").each(models):
        if model.pinned in owners:
            raise at.at("id").wrong(f"{quoted(model.pinned)} is already {owners[model.pinned]}.")
        owners[model.pinned] = at.key
    for model in models:
        owners.setdefault(model.id, owners[model.pinned])
    for at, model in place.at("models").each(models):
        if model.alias is None or model.alias == model.id:
            continue
        if model.alias in owners:
            raise at.at("alias").wrong(f"{quoted(model.alias)} already names {owners[model.alias]}.")
        owners[model.alias] = at.key


def _table(name: str, data: Any, place: Place, known: _Known) -> TableEntry:
    if not _TABLE_NAME.fullmatch(name):
        raise place.wrong(
            "a table's name is that of a marked block: letters, digits, '_', '.' and '-', "
            "and the first a letter or digit."
        )
    shape = shaped(data, TableShape, place)
    columns = known.vocabulary.columns
    if shape.kind not in columns:
        raise place.at("kind").unknown("kind", shape.kind, columns)
    for at, model in _each_once(shape.models, place.at("models")):
        _check_table_model(model, at, known)
    for at, column in _each_once(shape.columns, place.at("columns")):
        if column not in columns[shape.kind]:
            raise at.unknown("column", column, columns[shape.kind])
    return TableEntry(name, shape.kind, tuple(shape.models or ()), tuple(shape.columns or ()))


def _each_once(values: list[str] | None, place: Place) -> Iterator[tuple[Place, str]]:
    seen: dict[str, str] = {}
    for at, value in place.each(values or ()):
        if value in seen:
            raise at.wrong(f"{quoted(value)} is already {seen[value]}.")
        seen[value] = at.key
        yield at, value


def _check_table_model(name: str, place: Place, known: _Known) -> None:
    if not known.models:
        _check_reference(entry_of(name, known.root), place, known.root)
    elif find_model(known.models, name) is None:
        raise place.unknown("model", name, [model.alias or model.pinned for model in known.models])
