"""The configuration: `[tool.vlm-inspect]` in a pyproject.toml, or the same keys in a vlm-inspect.toml.

::

    snapshots = "snapshots"              # folder of the snapshot files, relative to this file
    files = ["README.md"]                # files whose marked blocks are regenerated

    [[models]]
    id = "llava-hf/llava-1.5-7b-hf"      # or a path relative to this file
    revision = "main"                    # branch, tag or commit
    alias = "LLaVA-1.5-7B"               # shown in tables, and a name for the model
    [models.facts]                       # what no module tree can tell
    fine_tuning = "Multimodal instruction data"

    [tables.comparison]                  # the name of a marked block
    kind = "comparison"                  # "architectures" where it is left out
    models = ["LLaVA-1.5-7B"]            # all models where it is left out
    columns = ["model", "parameters"]    # all columns of the kind where it is left out

What is read is checked whole: a key, type or name that means nothing is an error that says where.
"""

from __future__ import annotations

import difflib
import json
import math
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from vlm_inspect.errors import InvalidReferenceError, SettingsError
from vlm_inspect.ref import ModelRef

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]

FactValue = str | bool | int | float

DEFAULT_KIND = "architectures"
OWN_NAME = "vlm-inspect.toml"
PYPROJECT = "pyproject.toml"

_SECTION = "tool.vlm-inspect"
# The same as the name in a marker of documents.py, a room that this one may not import.
_TABLE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_PATH_STARTS = ("./", "../", "/", "~", ".\\", "..\\")
# Enough to find one's way, and no more where a file is hostile.
_LISTED, _SHOWN = 40, 200


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The names that a configuration may use, known to those who draw the tables."""

    facts: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...]]
    """For each kind of table its columns."""


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model of the configuration."""

    id: str
    """`org/name`, or a path as it was written."""
    revision: str | None = None
    alias: str | None = None
    facts: Mapping[str, FactValue] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What tables call the model."""
        return self.alias or self.id

    @property
    def pinned(self) -> str:
        """The id with its revision, where it has one. No two models of a configuration share it."""
        return f"{self.id}@{self.revision}" if self.revision else self.id

    def reference(self, root: Path) -> str:
        """What ModelRef.parse takes, beside `revision`: a path that exists from `root` wins over the Hub."""
        if self.id.startswith("~") or not _is_path(self.id, root):
            return self.id
        return str(root / self.id)


@dataclass(frozen=True, slots=True)
class TableEntry:
    """A table of the configuration, and the marked block that holds it."""

    name: str
    kind: str = DEFAULT_KIND
    models: tuple[str, ...] = ()
    """Aliases or ids; empty for all."""
    columns: tuple[str, ...] = ()
    """Empty for all of the kind."""


@dataclass(frozen=True, slots=True)
class Settings:
    """A configuration file, read and checked."""

    path: Path
    root: Path
    """The file's folder, where its relative paths start."""
    models: tuple[ModelEntry, ...] = ()
    tables: Mapping[str, TableEntry] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    snapshots: Path = Path("snapshots")

    def model(self, name: str) -> ModelEntry | None:
        """The model of an alias, of `id@revision`, or of an id that is listed once; else None."""
        return _find_model(self.models, name)

    def models_of(self, table: TableEntry) -> tuple[ModelEntry, ...]:
        """The models of a table, in its order."""
        if not table.models:
            return self.models
        return tuple(self.model(name) or _entry_of(name, self.root) for name in table.models)


def find_settings(start: Path, vocabulary: Vocabulary) -> Settings | None:
    """The configuration that holds in a folder: the nearest one at or above it, as ruff finds its own.

    In one folder vlm-inspect.toml comes before pyproject.toml. A pyproject.toml without a
    `[tool.vlm-inspect]` is passed over. None where there is no configuration.
    """
    start = _absolute(start)
    for folder in (start, *start.parents):
        own, shared = folder / OWN_NAME, folder / PYPROJECT
        if _is_file(own):
            return _checked(own, _parse(own), vocabulary)
        if _is_file(shared) and (section := _section(_parse(shared))) is not None:
            return _checked(shared, section, vocabulary)
    return None


def load_settings(path: Path, vocabulary: Vocabulary) -> Settings:
    """The configuration in one file; of a pyproject.toml the `[tool.vlm-inspect]` section."""
    data = _parse(path)
    if path.name != PYPROJECT:
        return _checked(path, data, vocabulary)
    section = _section(data)
    if section is None:
        raise SettingsError(
            f"{path} has no [{_SECTION}] section.",
            hint=f"Add [{_SECTION}] to it, or name another file.",
        )
    return _checked(path, section, vocabulary)


# --- files


def _absolute(start: Path) -> Path:
    try:
        return start.absolute()
    except OSError as error:
        raise SettingsError(
            "the working directory no longer exists.", hint="Change to a folder that does."
        ) from error


def _is_file(path: Path) -> bool:
    """Whether it is a file; a folder that may not be looked into holds none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that no path can have
        return False


def _parse(path: Path) -> dict[str, Any]:
    text = _read_text(path)
    try:
        data: dict[str, Any] = tomllib.loads(text)
    except ValueError as error:
        raise SettingsError(f"{path} is not valid TOML: {_with_place(error, text)}.") from error
    except RecursionError as error:
        raise SettingsError(f"{path} is not a configuration: it is nested too deeply.") from error
    return data


def _read_text(path: Path) -> str:
    try:
        # Some editors of Windows put a byte order mark in front.
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not UTF-8.", hint=f"Save {path} as UTF-8.") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"{str(path)!r} could not be read: {reason}.") from error


def _with_place(error: ValueError, text: str) -> str:
    """What the parser says, with line and column at the file's end, too."""
    lines = text.split("\n")
    return str(error).replace("at end of document", f"at line {len(lines)}, column {len(lines[-1]) + 1}")


def _section(pyproject: Mapping[str, Any]) -> Any:
    tool = pyproject.get("tool")
    return tool.get("vlm-inspect") if isinstance(tool, dict) else None


# --- shapes: keys and types. msgspec checks them; what they mean is checked below

_Text = Annotated[str, msgspec.Meta(pattern=r"\A(?!\s*\Z)[^\0]+\Z")]
_Texts = Annotated[list[_Text], msgspec.Meta(min_length=1)]
# TOML's own limit, which Python's parser does not keep.
_Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Fact = _Text | bool | _Integer | float


class _FileShape(msgspec.Struct):
    snapshots: _Text = "snapshots"
    files: list[_Text] = []
    models: list[Any] = []
    tables: dict[str, Any] = {}


class _ModelShape(msgspec.Struct):
    id: _Text
    revision: _Text | None = None
    alias: _Text | None = None
    facts: dict[str, Any] = {}


class _TableShape(msgspec.Struct):
    kind: _Text = DEFAULT_KIND
    models: _Texts | None = None
    columns: _Texts | None = None


_Shape = TypeVar("_Shape", bound=msgspec.Struct)

_TOML_WORDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "datetime": "a date and time",
    "date": "a date",
    "time": "a time",
}


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in which file something stands, and the errors that say so."""

    path: Path
    key: str = ""

    def at(self, key: str) -> _Place:
        """The place of a key in the table that stands here."""
        shown = key[:_SHOWN] if _BARE_KEY.fullmatch(key) else _quoted(key)
        return _Place(self.path, f"{self.key}.{shown}" if self.key else shown)

    def each(self, values: Collection[Any]) -> Iterator[tuple[_Place, Any]]:
        """The items of the list that stands here, each with its place."""
        for index, value in enumerate(values):
            yield _Place(self.path, f"{self.key}[{index}]"), value

    def wrong(self, what: str, hint: str = "") -> SettingsError:
        """The error that `what` is said of this place."""
        where = f"{self.path}: {self.key}" if self.key else f"{self.path}"
        return SettingsError(f"{where}: {what}", hint=hint)

    def unknown(self, kind: str, value: str, allowed: Collection[str]) -> SettingsError:
        """The error that a name is none of those allowed."""
        closest = difflib.get_close_matches(value[:_SHOWN], allowed, n=1)
        return self.wrong(
            f"unknown {kind} {_quoted(value)}. Allowed: {_listed(allowed)}.",
            hint=f"Did you mean {_quoted(closest[0])}?" if closest else "",
        )


def _shaped(data: Any, shape: type[_Shape], place: _Place) -> _Shape:
    """A table with the keys and types of `shape`."""
    if isinstance(data, dict):
        for key in data:
            if key not in shape.__struct_fields__:
                raise place.at(key).unknown("key", key, shape.__struct_fields__)
    shaped: _Shape = _converted(data, shape, place)
    return shaped


def _converted(data: Any, shape: Any, place: _Place) -> Any:
    try:
        return msgspec.convert(data, shape, strict=True)
    except msgspec.ValidationError as error:
        what, _, inner = str(error).partition(" - at `$")
        key = f"{place.key}{inner.rstrip('`')}".removeprefix(".")
        raise _Place(place.path, key).wrong(_in_toml_words(what)) from error


def _in_toml_words(message: str) -> str:
    """What msgspec says of a value, for those who write TOML and not Python."""
    if missing := re.fullmatch(r"Object missing required field `(\w+)`", message):
        return f"the key {_quoted(missing[1])} is missing."
    if "matching regex" in message:
        return "expected text that is not empty and holds no NUL."
    if "of length" in message:
        return "expected a list that is not empty. To take all, leave the key out."
    named = re.sub(r"`([a-z |]+)`", lambda types: _toml_types(types[1]), message)
    return named[:1].lower() + named[1:] + "."


def _toml_types(types: str) -> str:
    names = [_TOML_WORDS.get(name, name) for name in types.split(" | ") if name != "null"]
    return " or ".join(names)


# --- meaning: names that must be known, and must not be used twice


@dataclass(frozen=True, slots=True)
class _Known:
    """What the names in a file are checked against."""

    root: Path
    vocabulary: Vocabulary
    models: tuple[ModelEntry, ...] = ()


def _checked(path: Path, data: Any, vocabulary: Vocabulary) -> Settings:
    place = _Place(path)
    _check_top(data, place)
    shape = _shaped(data, _FileShape, place)
    root = _absolute(path).parent
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


def _check_top(data: Any, place: _Place) -> None:
    """Say of a section in the wrong file, or one that is none, what it is."""
    if not isinstance(data, dict):
        raise _Place(place.path, _SECTION).wrong("expected a table.")
    if place.path.name != PYPROJECT and _section(data) is not None:
        raise place.at("tool").wrong(
            f"only a {PYPROJECT} has a section [{_SECTION}].",
            hint=f"In {place.path.name} write the keys without it: [[models]], [tables.NAME].",
        )


def _model(data: Any, place: _Place, known: _Known) -> ModelEntry:
    shape = _shaped(data, _ModelShape, place)
    stated = _entry_of(shape.id, known.root)
    if stated.revision and shape.revision and stated.revision != shape.revision:
        raise place.at("revision").wrong(
            f"the id names revision {_quoted(stated.revision)}. Keep one of the two."
        )
    facts_place = place.at("facts")
    facts = {
        key: _fact(key, value, facts_place.at(key), known.vocabulary) for key, value in shape.facts.items()
    }
    entry = ModelEntry(stated.id, shape.revision or stated.revision, shape.alias, facts)
    _check_reference(entry, place.at("id"), known.root)
    return entry


def _entry_of(name: str, root: Path) -> ModelEntry:
    """The model of a path, of `org/name` or of `org/name@revision`."""
    id_, _, revision = name.partition("@")
    is_pinned = name.count("@") == 1 and id_ and revision and not _is_path(name, root)
    return ModelEntry(id_, revision) if is_pinned else ModelEntry(name)


def _is_path(name: str, root: Path) -> bool:
    return name.startswith(_PATH_STARTS) or name.endswith(".json") or _exists(root / name)


def _check_reference(entry: ModelEntry, place: _Place, root: Path) -> None:
    try:
        ModelRef.parse(entry.reference(root), entry.revision)
    except InvalidReferenceError as error:
        raise place.wrong(error.message, hint=error.hint) from error


def _fact(key: str, value: Any, place: _Place, vocabulary: Vocabulary) -> FactValue:
    if key not in vocabulary.facts:
        raise place.unknown("fact", key, vocabulary.facts)
    fact: FactValue = _converted(value, _Fact, place)
    if isinstance(fact, float) and not math.isfinite(fact):
        raise place.wrong("expected a number, got one that is not finite.")
    return fact


def _refuse_shared_names(models: tuple[ModelEntry, ...], place: _Place) -> None:
    """Every name must lead to one model."""
    owners: dict[str, str] = {}
    for at, model in place.at("models").each(models):
        if model.pinned in owners:
            raise at.at("id").wrong(f"{_quoted(model.pinned)} is already {owners[model.pinned]}.")
        owners[model.pinned] = at.key
    for model in models:
        owners.setdefault(model.id, owners[model.pinned])
    for at, model in place.at("models").each(models):
        if model.alias is None or model.alias == model.id:
            continue
        if model.alias in owners:
            raise at.at("alias").wrong(f"{_quoted(model.alias)} already names {owners[model.alias]}.")
        owners[model.alias] = at.key


def _table(name: str, data: Any, place: _Place, known: _Known) -> TableEntry:
    if not _TABLE_NAME.fullmatch(name):
        raise place.wrong(
            "a table's name is that of a marked block: letters, digits, '_', '.' and '-', "
            "and the first a letter or digit."
        )
    shape = _shaped(data, _TableShape, place)
    columns = known.vocabulary.columns
    if shape.kind not in columns:
        raise place.at("kind").unknown("kind", shape.kind, columns)
    for at, model in _each_once(shape.models, place.at("models")):
        _check_table_model(model, at, known)
    for at, column in _each_once(shape.columns, place.at("columns")):
        if column not in columns[shape.kind]:
            raise at.unknown("column", column, columns[shape.kind])
    return TableEntry(name, shape.kind, tuple(shape.models or ()), tuple(shape.columns or ()))


def _each_once(values: list[str] | None, place: _Place) -> Iterator[tuple[_Place, str]]:
    seen: dict[str, str] = {}
    for at, value in place.each(values or ()):
        if value in seen:
            raise at.wrong(f"{_quoted(value)} is already {seen[value]}.")
        seen[value] = at.key
        yield at, value


def _check_table_model(name: str, place: _Place, known: _Known) -> None:
    if not known.models:
        _check_reference(_entry_of(name, known.root), place, known.root)
    elif _find_model(known.models, name) is None:
        raise place.unknown("model", name, [model.alias or model.pinned for model in known.models])


def _find_model(models: tuple[ModelEntry, ...], name: str) -> ModelEntry | None:
    for model in models:
        if name in (model.alias, model.pinned):
            return model
    of_id = [model for model in models if model.id == name]
    return of_id[0] if len(of_id) == 1 else None


def _quoted(text: str) -> str:
    """As TOML writes it, control characters escaped."""
    return json.dumps(text[:_SHOWN])


def _listed(names: Collection[str]) -> str:
    shown = list(names)[:_LISTED]
    more = len(names) - len(shown)
    return (", ".join(shown) or "none") + (f" and {more} more" if more else "")
