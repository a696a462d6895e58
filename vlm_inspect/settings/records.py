"""What a configuration is once it is read: plain frozen data, and the names of its models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct, field

from vlm_inspect.settings.files import is_path

FactValue = str | bool | int | float

DEFAULT_KIND = "architectures"


class Vocabulary(Struct, frozen=True):
    """The names that a configuration may use, known to those who draw the tables."""

    facts: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...]]
    """For each kind of table its columns."""


class ModelEntry(Struct, frozen=True):
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
        if self.id.startswith("~") or not is_path(self.id, root):
            return self.id
        return str(root / self.id)


class TableEntry(Struct, frozen=True):
    """A table of the configuration, and the marked block that holds it."""

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
    """The file's folder, where its relative paths start."""
    models: tuple[ModelEntry, ...] = ()
    tables: Mapping[str, TableEntry] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    snapshots: Path = Path("snapshots")

    def model(self, name: str) -> ModelEntry | None:
        """The model of an alias, of `id@revision`, or of an id that is listed once; else None."""
        return find_model(self.models, name)

    def models_of(self, table: TableEntry) -> tuple[ModelEntry, ...]:
        """The models of a table, in its order."""
        if not table.models:
            return self.models
        return tuple(self.model(name) or entry_of(name, self.root) for name in table.models)


def entry_of(name: str, root: Path) -> ModelEntry:
    """The model of a path, of `org/name` or of `org/name@revision`."""
    id_, _, revision = name.partition("@")
    is_pinned = name.count("@") == 1 and id_ and revision and not is_path(name, root)
    return ModelEntry(id_, revision) if is_pinned else ModelEntry(name)


def find_model(models: tuple[ModelEntry, ...], name: str) -> ModelEntry | None:
    """The model of an alias, of `id@revision`, or of an id that is listed once; else None."""
    for model in models:
        if name in (model.alias, model.pinned):
            return model
    of_id = [model for model in models if model.id == name]
    return of_id[0] if len(of_id) == 1 else None
