"""The models that are asked for, and their answers as the rows of tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vlm_inspect import inspection, sources
from vlm_inspect.asking import Asking
from vlm_inspect.errors import InvalidReferenceError, VlmInspectError
from vlm_inspect.inspection import Found
from vlm_inspect.ref import ModelIdentity, ModelRef
from vlm_inspect.render.rows import Failure, Row
from vlm_inspect.settings import FactValue, ModelEntry, Settings, Vocabulary, find_settings, load_settings
from vlm_inspect.sources import catalogue

if TYPE_CHECKING:  # one model needs no batch
    from vlm_inspect import batch

    LookedUp = batch.Outcome["Request", Found]

Key = tuple[str, str | None, str | None]
"""Reference, revision and alias: what tells one row of a table from another."""

_DEFAULTS = Asking()
_LOOK_UPS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Request:
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


@dataclass(frozen=True, slots=True)
class Answered:
    """A row of a table, and what the source of its model had to say."""

    row: Row
    notes: tuple[str, ...] = ()


def settings_for(config: Path | None) -> Settings | None:
    """The configuration at a path, or the nearest one upward; None where there is none."""
    return load_settings(config, _vocabulary) if config else find_settings(Path(), _vocabulary)


def _vocabulary() -> Vocabulary:
    from vlm_inspect.render.columns import KINDS, column_ids
    from vlm_inspect.render.facts import FACT_KEYS

    return Vocabulary(FACT_KEYS, dict.fromkeys(KINDS, column_ids()))


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


def answers(requests: Iterable[Request], options: Asking = _DEFAULTS) -> Iterator[Answered]:
    """The rows of a table, one by one; a model that cannot be answered says why in its row."""
    from vlm_inspect import batch

    for outcome in batch.run(looked_up(requests, options), partial(_answered, options=options)):
        if isinstance(outcome, batch.Inspected):
            yield outcome.answer
        else:
            yield _failed(outcome.asked.asked, outcome.error)


def looked_up(requests: Iterable[Request], options: Asking = _DEFAULTS) -> Iterator[LookedUp]:
    """The models, several at a time and ahead of whoever builds them, in the order asked."""
    from vlm_inspect import batch

    look_up = partial(_look_up, options=options)
    if sources.is_offline(options):  # files alone are read: there is nothing to wait for
        return batch.run(requests, look_up)
    from vlm_inspect.daemon_threads import DaemonThreads

    sources.prepare()
    return batch.run_on(DaemonThreads(_LOOK_UPS_AT_ONCE), requests, look_up)


def _look_up(request: Request, options: Asking) -> Found:
    return inspection.look_up(request.reference, revision=request.revision, options=options)


def _answered(looked_up: LookedUp, options: Asking) -> Answered:
    from vlm_inspect import batch

    if isinstance(looked_up, batch.Failed):
        raise looked_up.error
    request, found = looked_up.asked, looked_up.answer
    answer = inspection.answer(found, options, with_tree=False)
    known = answer.architecture.model.id
    row = Row(
        name=request.alias or known,
        architecture=answer.architecture,
        facts={**catalogue.facts(known), **request.facts},
    )
    return Answered(row, answer.notes)


def _failed(request: Request, error: VlmInspectError) -> Answered:
    model = ModelIdentity(request.configured or request.reference.partition("@")[0])
    return Answered(Row(request.name, error=_failure(request, error), facts=request.facts, model=model))


def _failure(request: Request, error: VlmInspectError) -> Failure:
    """Why, with the model as the user wrote it: where a configuration lies is this machine's business."""
    told = Failure.of(error)
    written = request.configured or request.reference
    return replace(told, message=told.message.replace(request.reference, written))


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
