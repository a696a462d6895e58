"""Many models' answers, in order: looked up ahead of time in threads, and built where the caller says.

An answer that is kept is given from here, and models that one build answers are built once: neither costs
a worker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, TypeVar, cast

from vlm_inspect import batch, inspection, sources
from vlm_inspect.asking import Asking
from vlm_inspect.batch import Failed, Inspected, Outcome
from vlm_inspect.daemon_threads import DaemonThreads
from vlm_inspect.inspection import Found, Inspection, NotKeptError

if TYPE_CHECKING:
    from collections.abc import Generator
    from concurrent.futures import Executor

Asked = TypeVar("Asked")

_LOOK_UPS_AT_ONCE = 8


def inspections(  # noqa: PLR0913 - where and how, by name
    asked: Iterable[Asked],
    look_up: Callable[[Asked], Found],
    options: Asking,
    *,
    jobs: int = 1,
    executor: Executor | None = None,
    with_tree: bool = False,
) -> Iterator[Outcome[Asked, Inspection]]:
    """The outcome of each model: on an executor, in so many processes, or, with one job, in this one."""
    sources.prepare()
    found = batch.run_on(DaemonThreads(_LOOK_UPS_AT_ONCE), asked, look_up)
    answer = partial(_answer, options=options, with_tree=with_tree)
    at_hand = partial(_kept, options=options, with_tree=with_tree)
    same = partial(_build_key, options=options)
    if executor is not None:
        outcomes = batch.run_on(executor, found, answer, at_hand=at_hand, same=same)
    elif jobs > 1:
        outcomes = batch.run_in_processes(jobs, found, answer, at_hand=at_hand, same=same)
    else:
        outcomes = batch.run(found, answer)
    with closing(cast("Generator[Outcome[Outcome[Asked, Found], Inspection]]", outcomes)):
        for outcome in outcomes:
            one = outcome.asked.asked
            if isinstance(outcome, Inspected):
                yield Inspected(one, outcome.answer)
            else:
                yield Failed(one, outcome.error)


def _answer(looked_up: Outcome[Asked, Found], options: Asking, *, with_tree: bool) -> Inspection:
    return inspection.answer(_found(looked_up), options, with_tree=with_tree)


def _kept(looked_up: Outcome[Asked, Found], options: Asking, *, with_tree: bool) -> Inspection | None:
    try:
        return inspection.answer(_found(looked_up), options, with_tree=with_tree, kept_only=True)
    except NotKeptError:
        return None


def _build_key(looked_up: Outcome[Asked, Found], options: Asking) -> str | None:
    return inspection.build_key(_found(looked_up), options)


def _found(looked_up: Outcome[Asked, Found]) -> Found:
    if isinstance(looked_up, Failed):
        raise looked_up.error
    return looked_up.answer
