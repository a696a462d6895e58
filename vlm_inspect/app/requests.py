"""The models to inspect: named on the command line, listed in a configuration, or built in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import replace

from vlm_inspect import settings as settings_files
from vlm_inspect.app import pipeline
from vlm_inspect.app.batch import Inspected, Outcome, inspect_many
from vlm_inspect.app.pipeline import Inspection, ResolvedModel
from vlm_inspect.core.errors import InvalidReferenceError, VlmInspectError
from vlm_inspect.core.model_ref import ModelIdentity, ModelRef
from vlm_inspect.core.options import InspectOptions
from vlm_inspect.render.cells import Failure, Row
from vlm_inspect.settings import AllowedNames, FactValue, ModelEntry, Settings
from vlm_inspect.sources import catalogue

Key = tuple[str, str | None, str | None]
"""Reference, revision and alias: they identify a row of a table."""


class Request(Struct, frozen=True):
    """One model to inspect, with the user's name for it and the facts that the user states."""

    reference: str
    revision: str | None = None
    alias: str | None = None
    facts: Mapping[str, FactValue] = field(default_factory=dict)
    configured_id: str | None = None
    """The id under which the configuration lists it; a path is relative to the configuration."""

    @property
    def name(self) -> str:
        """Its name until it is inspected: never more of a path than the user wrote."""
        return self.alias or self.configured_id or self.reference.partition("@")[0]

    @property
    def key(self) -> Key:
        """Requests with the same key have the same row."""
        return self.reference, self.revision, self.alias


def load_settings(config: Path | None) -> Settings | None:
    """The configuration at a path, or the nearest in this folder or above it; None if there is none."""
    if config:
        return settings_files.load_settings(config, _allowed_names)
    return settings_files.find_settings(Path(), _allowed_names)


def _allowed_names() -> AllowedNames:
    from vlm_inspect.render.columns import KINDS, column_ids
    from vlm_inspect.render.facts import FACT_KEYS

    return AllowedNames(FACT_KEYS, dict.fromkeys(KINDS, column_ids()))


def resolve_requests(models: Sequence[str], settings: Settings | None, revision: str | None = None) -> list[Request]:
    """The named models, resolved by the configuration; without names all of its models, or all built-in ones.

    Raises InvalidReferenceError for an invalid name, before any model is looked up.
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
        return [configured_request(entry, settings) for entry in configured]
    return [_request(name, None, revision) for name in catalogue.names()]


def configured_models(settings: Settings | None) -> list[ModelEntry]:
    """The models of the configuration; if it lists none, those of its tables, each once."""
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
    entry_request = configured_request(entry, settings)
    return replace(entry_request, revision=revision or entry.revision)


def configured_request(entry: ModelEntry, settings: Settings) -> Request:
    """A model as the configuration lists it."""
    return Request(entry.reference(settings.root), entry.revision, entry.alias, entry.facts, entry.id)


_DEFAULTS = InspectOptions()


class RowResult(Struct, frozen=True):
    """A row of a table, and the notes of its model's source."""

    row: Row
    notes: tuple[str, ...] = ()


def table_rows(requests: Iterable[Request], options: InspectOptions = _DEFAULTS) -> Iterator[RowResult]:
    """The rows of a table, one by one; the row of a model that fails has the error."""
    for outcome in inspect_requests(requests, options):
        if isinstance(outcome, Inspected):
            yield _row(outcome.model, outcome.answer)
        else:
            yield _error_row(outcome.model, outcome.error)


def inspect_requests(
    requests: Iterable[Request], options: InspectOptions = _DEFAULTS, *, with_tree: bool = False
) -> Iterator[Outcome[Request, Inspection]]:
    """The outcomes, one by one, in the order of the requests."""
    return inspect_many(requests, partial(_look_up, options=options), options, with_tree=with_tree)


def _look_up(request: Request, options: InspectOptions) -> ResolvedModel:
    return pipeline.resolve(request.reference, revision=request.revision, options=options)


def _row(request: Request, answer: Inspection) -> RowResult:
    model = answer.architecture.model.id
    row = Row(
        name=request.alias or model,
        architecture=answer.architecture,
        facts={**catalogue.facts(model), **request.facts},
    )
    return RowResult(row, answer.notes)


def _error_row(request: Request, error: VlmInspectError) -> RowResult:
    model = ModelIdentity(request.configured_id or request.reference.partition("@")[0])
    return RowResult(Row(request.name, error=_failure(request, error), facts=request.facts, model=model))


def _failure(request: Request, error: VlmInspectError) -> Failure:
    """The error, with the model as the user wrote it: no folder of this machine."""
    failure = Failure.of(error)
    written = request.configured_id or request.reference
    return replace(failure, message=failure.message.replace(request.reference, written))
