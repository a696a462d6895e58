"""The configuration: `[tool.vlm-inspect]` in a pyproject.toml, or the same keys in a vlm-inspect.toml.

Its keys are `snapshots`, `files`, `[[models]]` and `[tables.NAME]`; the README shows an example.
"""

from __future__ import annotations

import difflib
import json
import math
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct, field

from vlm_inspect.core.errors import InvalidReferenceError, SettingsError
from vlm_inspect.core.model_ref import ModelRef, looks_like_path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]

FactValue = str | bool | int | float
DEFAULT_KIND = "architectures"

_OWN_NAME = "vlm-inspect.toml"
_PYPROJECT = "pyproject.toml"
_SECTION = "tool.vlm-inspect"
# the same as in storage/blocks.py, which takes time to import
_BLOCK_NAME = r"[A-Za-z0-9][A-Za-z0-9_.\-]*"

_quoted = json.dumps
_Text = Annotated[str, Meta(pattern=r"\A(?!\s*\Z)[^\0]+\Z")]
_Texts = Annotated[tuple[_Text, ...], Meta(min_length=1)]
_Fact = _Text | bool | Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | float


class AllowedNames(Struct, frozen=True):
    """The names of facts and columns that a configuration may use."""

    facts: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...]]
    """The columns of each kind of table."""


class ModelEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """A model of the configuration."""

    id: _Text
    """`org/name`, or a path as it is written in the file."""
    revision: _Text | None = None
    alias: _Text | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The model's name in tables."""
        return self.alias or self.id

    @property
    def pinned(self) -> str:
        """The id with the revision, if there is one; unique in a configuration."""
        return f"{self.id}@{self.revision}" if self.revision else self.id

    def reference(self, root: Path) -> str:
        """Return what ModelRef.parse takes: a path that exists from `root` wins over the Hub."""
        return self.id if self.id.startswith("~") or not _is_path(self.id, root) else str(root / self.id)


class TableEntry(Struct, frozen=True):
    """A table of the configuration, and the marked block of that name."""

    name: str
    kind: str = DEFAULT_KIND
    models: tuple[str, ...] = ()
    """Aliases or ids; empty for all."""
    columns: tuple[str, ...] = ()
    """Empty for all of the kind."""


class Settings(Struct, frozen=True):
    """A configuration file, read and checked."""

    path: Path
    root: Path
    """The file's folder: relative paths start here."""
    models: tuple[ModelEntry, ...] = ()
    tables: Mapping[str, TableEntry] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    snapshots: Path = Path("snapshots")

    def model(self, name: str) -> ModelEntry | None:
        """Find a model by alias, by `id@revision`, or by an id that is listed once."""
        named = [model for model in self.models if name in (model.alias, model.pinned)]
        same_id = [model for model in self.models if model.id == name]
        return named[0] if named else same_id[0] if len(same_id) == 1 else None

    def models_of(self, table: TableEntry) -> tuple[ModelEntry, ...]:
        """Return the models of a table in its order."""
        if not table.models:
            return self.models
        return tuple(self.model(name) or _entry_of(name, self.root) for name in table.models)


def find_settings(start: Path, allowed: Callable[[], AllowedNames]) -> Settings | None:
    """Read the nearest configuration in a folder or above it; None if there is none.

    In one folder vlm-inspect.toml comes first. A pyproject.toml without the section is skipped. `allowed` is
    called only if there is a configuration. Raises SettingsError.
    """
    start = _absolute(start)
    paths = (folder / name for folder in (start, *start.parents) for name in (_OWN_NAME, _PYPROJECT))
    for path in filter(_is_file, paths):
        data = _read(path)
        if data is not None:
            return _settings(path, data, allowed())
    return None


def load_settings(path: Path, allowed: Callable[[], AllowedNames]) -> Settings:
    """Read a configuration file; of a pyproject.toml the `[tool.vlm-inspect]`. Raises SettingsError."""
    data = _read(path)
    if data is None:
        hint = f"Add [{_SECTION}] to it, or name another file."
        raise SettingsError(f"{path} has no [{_SECTION}] section.", hint=hint)
    return _settings(path, data, allowed())


def _read(path: Path) -> Any:
    """The content of a file; None for a pyproject.toml without the section."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not UTF-8.", hint=f"Save {path} as UTF-8.") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}.") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"{str(path)!r} could not be read: {reason}.") from error
    return _section_of(data) if path.name == _PYPROJECT else data


def _section_of(data: Mapping[str, Any]) -> Any:
    tool = data.get("tool")
    return tool.get("vlm-inspect") if isinstance(tool, dict) else None


def _absolute(path: Path) -> Path:
    try:
        return path.absolute()
    except OSError as error:
        raise SettingsError("the working directory no longer exists.", hint="Change to another.") from error


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a folder without read permission
        return False


def _is_path(name: str, root: Path) -> bool:
    try:
        return looks_like_path(name) or (root / name).exists()
    except (OSError, ValueError):  # not a valid path
        return False


def _entry_of(name: str, root: Path) -> ModelEntry:
    id_, _, revision = name.partition("@")
    is_pinned = name.count("@") == 1 and id_ and revision and not _is_path(name, root)
    return ModelEntry(id_, revision) if is_pinned else ModelEntry(name)


# msgspec does not name the keys of a dict in errors: the values of a dict are converted one by one
class _File(Struct, forbid_unknown_fields=True):
    snapshots: _Text = "snapshots"
    files: tuple[_Text, ...] = ()
    models: tuple[Any, ...] = ()
    tables: dict[str, Any] = {}


class _Table(Struct, forbid_unknown_fields=True):
    kind: _Text = DEFAULT_KIND
    models: _Texts = ()
    columns: _Texts = ()


class _Place(Struct, frozen=True):
    """A key of the file, and the errors about it."""

    path: Path
    key: str = ""

    def at(self, key: str) -> _Place:
        shown = key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _quoted(key)
        return _Place(self.path, f"{self.key}.{shown}" if self.key else shown)

    def each(self, values: Collection[Any]) -> Iterator[tuple[_Place, Any]]:
        for index, value in enumerate(values):
            yield _Place(self.path, f"{self.key}[{index}]"), value

    def error(self, message: str, hint: str = "") -> SettingsError:
        where = f"{self.path}: {self.key}" if self.key else f"{self.path}"
        return SettingsError(f"{where}: {message}", hint=hint)

    def unknown(self, kind: str, value: str, allowed: Collection[str]) -> SettingsError:
        closest = difflib.get_close_matches(value, allowed, n=1)
        return self.error(
            f"unknown {kind} {_quoted(value)}. Allowed: {', '.join(allowed) or 'none'}.",
            hint=f"Did you mean {_quoted(closest[0])}?" if closest else "",
        )


def _convert(data: Any, type_: Any, place: _Place) -> Any:
    try:
        return msgspec.convert(data, type_)
    except msgspec.ValidationError as error:
        what, _, inner = str(error).partition(" - at `$")
        if match := re.fullmatch(r"Object contains unknown field `(.*)`", what, re.DOTALL):
            raise place.at(match[1]).unknown("key", match[1], type_.__struct_fields__) from error
        key = f"{place.key}{inner.rstrip('`')}".removeprefix(".")
        if "matching regex" in what:
            what = "expected text that is not empty and contains no NUL"
        what = what.replace(" | null`", "`")
        raise _Place(place.path, key).error(f"{what[:1].lower()}{what[1:]}.") from error


def _settings(path: Path, data: Any, allowed: AllowedNames) -> Settings:
    place = _Place(path)
    if not isinstance(data, dict):
        raise _Place(path, _SECTION).error("expected a table.")
    if path.name != _PYPROJECT and _section_of(data) is not None:
        raise place.at("tool").error(
            f"only a {_PYPROJECT} has a section [{_SECTION}].",
            hint=f"In {path.name} write the keys without it: [[models]], [tables.NAME].",
        )
    file: _File = _convert(data, _File, place)
    root = _absolute(path).parent
    models = tuple(_model(each, at, root, allowed) for at, each in place.at("models").each(file.models))
    _check_unique(models, place.at("models"))
    tables = {
        name: _table(name, each, place.at("tables").at(name), Settings(path, root, models), allowed)
        for name, each in file.tables.items()
    }
    files = tuple(root / name for name in file.files)
    return Settings(path, root, models, tables, files, root / file.snapshots)


def _model(data: Any, place: _Place, root: Path, allowed: AllowedNames) -> ModelEntry:
    model: ModelEntry = _convert(data, ModelEntry, place)
    named = _entry_of(model.id, root)
    if named.revision and model.revision and named.revision != model.revision:
        raise place.at("revision").error(f"the id names revision {_quoted(named.revision)}. Use one of the two.")
    facts = {key: _fact(key, value, place.at("facts").at(key), allowed) for key, value in model.facts.items()}
    entry = ModelEntry(named.id, model.revision or named.revision, model.alias, facts)
    _check_reference(entry, place.at("id"), root)
    return entry


def _fact(key: str, value: Any, place: _Place, allowed: AllowedNames) -> FactValue:
    if key not in allowed.facts:
        raise place.unknown("fact", key, allowed.facts)
    fact: FactValue = _convert(value, _Fact, place)
    if isinstance(fact, float) and not math.isfinite(fact):
        raise place.error("expected a number, got one that is not finite.")
    return fact


def _check_reference(entry: ModelEntry, place: _Place, root: Path) -> None:
    try:
        ModelRef.parse(entry.reference(root), entry.revision)
    except InvalidReferenceError as error:
        raise place.error(error.message, hint=error.hint) from error


def _check_unique(models: tuple[ModelEntry, ...], place: _Place) -> None:
    """A name must not refer to two models."""
    owners: dict[str, str] = {}
    for at, model in place.each(models):
        if model.pinned in owners:
            raise at.at("id").error(f"{_quoted(model.pinned)} is already {owners[model.pinned]}.")
        owners[model.pinned] = at.key
    for model in models:
        owners.setdefault(model.id, owners[model.pinned])
    for at, model in place.each(models):
        if model.alias is None or model.alias == model.id:
            continue
        if model.alias in owners:
            raise at.at("alias").error(f"{_quoted(model.alias)} already names {owners[model.alias]}.")
        owners[model.alias] = at.key


def _table(name: str, data: Any, place: _Place, settings: Settings, allowed: AllowedNames) -> TableEntry:
    if not re.fullmatch(_BLOCK_NAME, name):
        raise place.error(
            "a table's name is that of a marked block: letters, digits, '_', '.' and '-', "
            "starting with a letter or digit."
        )
    table: _Table = _convert(data, _Table, place)
    if table.kind not in allowed.columns:
        raise place.at("kind").unknown("kind", table.kind, allowed.columns)
    for at, model in _each_once(table.models, place.at("models")):
        if not settings.models:
            _check_reference(_entry_of(model, settings.root), at, settings.root)
        elif settings.model(model) is None:
            raise at.unknown("model", model, [each.alias or each.pinned for each in settings.models])
    for at, column in _each_once(table.columns, place.at("columns")):
        if column not in allowed.columns[table.kind]:
            raise at.unknown("column", column, allowed.columns[table.kind])
    return TableEntry(name, table.kind, table.models, table.columns)


def _each_once(values: tuple[str, ...], place: _Place) -> Iterator[tuple[_Place, str]]:
    seen: dict[str, str] = {}
    for at, value in place.each(values):
        if value in seen:
            raise at.error(f"{_quoted(value)} is already {seen[value]}.")
        seen[value] = at.key
        yield at, value
