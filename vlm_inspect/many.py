"""Many models' answers, in order: looked up ahead of time in threads, and built where the caller says.

An answer that is kept is given from here, and models that one build answers are built once: neither costs
a worker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, TypeVar, cast

from msgspec import Struct

from vlm_inspect import batch, inspection, sources
from vlm_inspect.batch import Inspected, Outcome
from vlm_inspect.checkpoint import Checkpoint
from vlm_inspect.inspection import Found, Inspection
from vlm_inspect.sources.options import InspectOptions

if TYPE_CHECKING:
    from collections.abc import Generator
    from concurrent.futures import Executor

Asked = TypeVar("Asked")

_LOOK_UPS_AT_ONCE = 8


def inspections(
    asked: Iterable[Asked],
    look_up: Callable[[Asked], Found],
    options: InspectOptions,
    *,
    executor: Executor | None = None,
    with_tree: bool = False,
) -> Iterator[Outcome[Asked, Inspection]]:
    """The outcome of each model: on an executor, or in so many processes as `options.jobs` says."""
    found = _looked_up(asked, look_up, options)
    each = _Each(options, with_tree)
    in_workers = partial(batch.run_on, executor) if executor is not None else None
    if in_workers is None and options.jobs > 1:
        in_workers = partial(batch.run_in_processes, options.jobs)
    if in_workers is None:
        outcomes = batch.run(found, each.answer)
    else:
        outcomes = in_workers(found, each.answer, at_hand=each.known, same=each.in_common)
    with closing(cast("Generator[Outcome[Outcome[Asked, Found], Inspection]]", outcomes)):
        for outcome in outcomes:
            one = outcome.asked.asked
            if isinstance(outcome, Inspected):
                yield Inspected(one, outcome.answer)
            else:
                yield batch.Failed(one, outcome.error)


def _looked_up(
    asked: Iterable[Asked], look_up: Callable[[Asked], Found], options: InspectOptions
) -> Iterator[Outcome[Asked, Found]]:
    """The models, several at a time and ahead of whoever builds them."""
    if sources.is_offline(options):  # files alone are read: there is nothing to wait for
        return batch.run(asked, look_up)
    from vlm_inspect.daemon_threads import DaemonThreads

    sources.prepare()
    return batch.run_on(DaemonThreads(_LOOK_UPS_AT_ONCE), asked, look_up)


class _Each(Struct, frozen=True):
    """What is done with each model that was looked up, here or in a worker."""

    options: InspectOptions
    with_tree: bool

    def answer(self, model: Outcome[Asked, Found]) -> Inspection:
        return inspection.answer(batch.unwrapped(model), self.options, with_tree=self.with_tree)

    def known(self, model: Outcome[Asked, Found]) -> Inspection | None:
        return inspection.known(batch.unwrapped(model), self.options, with_tree=self.with_tree)

    def in_common(self, model: Outcome[Asked, Found]) -> str | None:
        from vlm_inspect.kept_answers import in_common

        source = batch.unwrapped(model).source
        return in_common(source, self.options) if isinstance(source, Checkpoint) else None
