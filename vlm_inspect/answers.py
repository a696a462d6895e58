"""The answers to what was asked for, as the rows of tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from vlm_inspect import inspection
from vlm_inspect.batch import Inspected, Outcome
from vlm_inspect.errors import VlmInspectError
from vlm_inspect.inspection import Found, Inspection
from vlm_inspect.many import inspections
from vlm_inspect.ref import ModelIdentity
from vlm_inspect.render.rows import Failure, Row
from vlm_inspect.requested import Request
from vlm_inspect.sources import catalogue
from vlm_inspect.sources.options import InspectOptions

_DEFAULTS = InspectOptions()


class Answered(Struct, frozen=True):
    """A row of a table, and what the source of its model had to say."""

    row: Row
    notes: tuple[str, ...] = ()


def answers(requests: Iterable[Request], options: InspectOptions = _DEFAULTS) -> Iterator[Answered]:
    """The rows of a table, one by one; a model that cannot be answered says why in its row."""
    for outcome in inspected(requests, options):
        if isinstance(outcome, Inspected):
            yield _answered(outcome.asked, outcome.answer)
        else:
            yield _failed(outcome.asked, outcome.error)


def inspected(
    requests: Iterable[Request], options: InspectOptions = _DEFAULTS, *, with_tree: bool = False
) -> Iterator[Outcome[Request, Inspection]]:
    """The answers, one by one, in the order asked."""
    return inspections(requests, partial(_look_up, options=options), options, with_tree=with_tree)


def _look_up(request: Request, options: InspectOptions) -> Found:
    return inspection.look_up(request.reference, revision=request.revision, options=options)


def _answered(request: Request, answer: Inspection) -> Answered:
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
