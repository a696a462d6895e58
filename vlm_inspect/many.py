"""Inspect many models, in order: loaded ahead in threads, built here, in processes or on an executor.

A cached result is yielded from here, and models that share one build are built once: neither costs a worker.
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

Model = TypeVar("Model")

_THREADS = 8


def inspect_many(
    models: Iterable[Model],
    load: Callable[[Model], Found],
    options: InspectOptions,
    *,
    executor: Executor | None = None,
    with_tree: bool = False,
) -> Iterator[Outcome[Model, Inspection]]:
    """Yield the outcome of each model: built on the executor, or else in `options.jobs` processes."""
    loaded = _loaded(models, load, options)
    task = _Task(options, with_tree)
    runner = partial(batch.run_on, executor) if executor is not None else None
    if runner is None and options.jobs > 1:
        runner = partial(batch.run_in_processes, options.jobs)
    outcomes = (
        batch.run(loaded, task.answer)
        if runner is None
        else runner(loaded, task.answer, cached=task.cached, dedupe_key=task.dedupe_key)
    )
    with closing(cast("Generator[Outcome[Outcome[Model, Found], Inspection]]", outcomes)):
        for outcome in outcomes:
            model = outcome.model.model
            if isinstance(outcome, Inspected):
                yield Inspected(model, outcome.answer)
            else:
                yield batch.Failed(model, outcome.error)


def _loaded(
    models: Iterable[Model], load: Callable[[Model], Found], options: InspectOptions
) -> Iterator[Outcome[Model, Found]]:
    """Load the models, several at a time and ahead of whoever builds them."""
    if sources.is_offline(options):  # files alone are read: there is nothing to wait for
        yield from batch.run(models, load)
        return
    from concurrent.futures import ThreadPoolExecutor

    sources.prepare()
    threads = ThreadPoolExecutor(_THREADS)
    try:
        yield from batch.run_on(threads, models, load)
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


class _Task(Struct, frozen=True):
    """What is done with each model that was loaded, here or in a worker."""

    options: InspectOptions
    with_tree: bool

    def answer(self, model: Outcome[Model, Found]) -> Inspection:
        return inspection.answer(batch.unwrap(model), self.options, with_tree=self.with_tree)

    def cached(self, model: Outcome[Model, Found]) -> Inspection | None:
        return inspection.known(batch.unwrap(model), self.options, with_tree=self.with_tree)

    def dedupe_key(self, model: Outcome[Model, Found]) -> str | None:
        from vlm_inspect.kept_answers import shared_key

        source = batch.unwrap(model).source
        return shared_key(source, self.options) if isinstance(source, Checkpoint) else None
