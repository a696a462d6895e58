"""The models that are asked for: named on the command line, listed in a configuration, or the catalogue's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import replace

from vlm_inspect.errors import InvalidReferenceError
from vlm_inspect.ref import ModelRef
from vlm_inspect.settings import AllowedNames, FactValue, ModelEntry, Settings, find_settings, load_settings
from vlm_inspect.sources import catalogue

Key = tuple[str, str | None, str | None]
"""Reference, revision and alias: what tells one row of a table from another."""


class Request(Struct, frozen=True):
    """One model of a table: what to look up, what the user calls it, and what the user says of it."""

    reference: str
    revision: str | None = None
    alias: str | None = None
    facts: Mapping[str, FactValue] = field(default_factory=dict)
    configured: str | None = None
    """The id under which the configuration lists it; a path there is relative to the configuration."""

    @property
    def name(self) -> str:
        """What it is called before it is read: never more of a path than the user wrote."""
        return self.alias or self.configured or self.reference.partition("@")[0]

    @property
    def key(self) -> Key:
        """Two requests with one key have one answer."""
        return self.reference, self.revision, self.alias


def settings_for(config: Path | None) -> Settings | None:
    """The configuration at a path, or the nearest one upward; None where there is none."""
    return load_settings(config, _allowed_names) if config else find_settings(Path(), _allowed_names)


def _allowed_names() -> AllowedNames:
    from vlm_inspect.render.columns import KINDS, column_ids
    from vlm_inspect.render.facts import FACT_KEYS

    return AllowedNames(FACT_KEYS, dict.fromkeys(KINDS, column_ids()))


def requests_for(
    models: Sequence[str], settings: Settings | None, revision: str | None = None
) -> list[Request]:
    """The models named, as the configuration knows them; without any, all of it, or of the catalogue.

    Raises InvalidReferenceError for a name that can be none, before any model is looked up.
    """
    if models:
        return [_request(name, settings, revision) for name in models]
    if revision is not None:
        raise InvalidReferenceError(
            "a revision is one model's, and no model is named.",
            hint=f"Name the model: org/name@{revision}",
        )
    configured = configured_models(settings)
    if settings is not None and configured:
        return [request_for(entry, settings) for entry in configured]
    return [_request(name, None, revision) for name in catalogue.names()]


def configured_models(settings: Settings | None) -> list[ModelEntry]:
    """The models of the configuration; where it lists none, those that its tables name, each once."""
    if settings is None:
        return []
    if settings.models:
        return list(settings.models)
    named = [entry for table in settings.tables.values() for entry in settings.models_of(table)]
    return list({entry.pinned: entry for entry in named}.values())


def _request(name: str, settings: Settings | None, revision: str | None) -> Request:
    entry = settings.model(name) if settings is not None else None
    if entry is None or settings is None:
        ModelRef.parse(name, revision)
        return Request(name, revision)
    entry_request = request_for(entry, settings)
    return replace(entry_request, revision=revision or entry.revision)


def request_for(entry: ModelEntry, settings: Settings) -> Request:
    """A model as the configuration lists it."""
    return Request(entry.reference(settings.root), entry.revision, entry.alias, entry.facts, entry.id)
