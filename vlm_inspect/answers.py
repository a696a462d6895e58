"""Inspect several requests, as rows of a table or as they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from vlm_inspect import inspection
from vlm_inspect.batch import Inspected, Outcome
from vlm_inspect.errors import VlmInspectError
from vlm_inspect.inspection import Found, Inspection
from vlm_inspect.many import inspect_many
from vlm_inspect.ref import ModelIdentity
from vlm_inspect.render.rows import Failure, Row
from vlm_inspect.requested import Request
from vlm_inspect.sources import catalogue
from vlm_inspect.sources.options import InspectOptions

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


def _look_up(request: Request, options: InspectOptions) -> Found:
    return inspection.look_up(request.reference, revision=request.revision, options=options)


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
