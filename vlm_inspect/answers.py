"""The answers to what was asked for: looked up ahead, built once, finished as the caller needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, TypeVar

from vlm_inspect import batch, inspection, sources
from vlm_inspect.asking import Asking
from vlm_inspect.checkpoint import Checkpoint
from vlm_inspect.errors import VlmInspectError
from vlm_inspect.inspection import Found, Inspection
from vlm_inspect.ref import ModelIdentity
from vlm_inspect.render.rows import Failure, Row
from vlm_inspect.requested import Request
from vlm_inspect.sources import catalogue

_DEFAULTS = Asking()
_LOOK_UPS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Answered:
    """A row of a table, and what the source of its model had to say."""

    row: Row
    notes: tuple[str, ...] = ()


LookedUp = batch.Outcome[Request, Found]
"""A model whose configuration is there, or why it is not."""
Finished = TypeVar("Finished")
Finish = Callable[[Request, Found, Inspection], Finished]
"""What is made of a model's answer: a row of a table, a file …"""


def answers(requests: Iterable[Request], options: Asking = _DEFAULTS) -> Iterator[Answered]:
    """The rows of a table, one by one; a model that cannot be answered says why in its row."""
    for outcome in answered(requests, _row, options):
        yield (
            outcome.answer if isinstance(outcome, batch.Inspected) else _failed(outcome.asked, outcome.error)
        )


def answered(
    requests: Iterable[Request],
    finish: Finish[Finished],
    options: Asking = _DEFAULTS,
    *,
    with_tree: bool = False,
) -> Iterator[batch.Outcome[Request, Finished]]:
    """What `finish` makes of each model's answer, one by one, in the order asked.

    With several jobs what must be built is built in so many processes, and finished there: `finish` must
    survive pickling. What is kept costs none of them, and models of one configuration are built once.
    """
    each = _Each(finish, options, with_tree)
    models = looked_up(requests, options)
    if options.jobs == 1:
        outcomes = batch.run(models, each.answer)
    else:
        outcomes = batch.run_in_processes(
            options.jobs, models, each.answer, at_hand=each.at_hand, same=each.same
        )
    for outcome in outcomes:
        request = outcome.asked.asked
        if isinstance(outcome, batch.Inspected):
            yield batch.Inspected(request, outcome.answer)
        else:
            yield batch.Failed(request, outcome.error)


def looked_up(requests: Iterable[Request], options: Asking = _DEFAULTS) -> Iterator[LookedUp]:
    """The models, several at a time and ahead of whoever builds them, in the order asked."""
    look_up = partial(_look_up, options=options)
    if sources.is_offline(options):  # files alone are read: there is nothing to wait for
        return batch.run(requests, look_up)
    from vlm_inspect.daemon_threads import DaemonThreads

    sources.prepare()
    return batch.run_on(DaemonThreads(_LOOK_UPS_AT_ONCE), requests, look_up)


def _look_up(request: Request, options: Asking) -> Found:
    return inspection.look_up(request.reference, revision=request.revision, options=options)


@dataclass(frozen=True, slots=True)
class _Each(Generic[Finished]):
    """What is done with a model that was looked up."""

    finish: Finish[Finished]
    options: Asking
    with_tree: bool

    def answer(self, model: LookedUp) -> Finished:
        found = batch.unwrapped(model)
        answer = inspection.answer(found, self.options, with_tree=self.with_tree)
        return self.finish(model.asked, found, answer)

    def at_hand(self, model: LookedUp) -> Finished | None:
        found = batch.unwrapped(model)
        known = inspection.known(found, self.options, with_tree=self.with_tree)
        return self.finish(model.asked, found, known) if known is not None else None

    def same(self, model: LookedUp) -> str | None:
        from vlm_inspect.kept_answers import in_common

        source = model.answer.source if isinstance(model, batch.Inspected) else None
        return in_common(source, self.options) if isinstance(source, Checkpoint) else None


def _row(request: Request, _: Found, answer: Inspection) -> Answered:
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
