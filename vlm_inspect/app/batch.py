"""Inspect many models: an outcome for each, in the order of the input.

An outcome is a result or the error of the model. Models are taken from the input when they are needed, and
outcomes are yielded when they are ready, so that there may be any number of them.
"""

from __future__ import annotations

import pickle
import traceback
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from msgspec import Struct

from vlm_inspect import sources
from vlm_inspect.app import pipeline
from vlm_inspect.app.pipeline import Inspection, ResolvedModel
from vlm_inspect.core.checkpoint import Checkpoint
from vlm_inspect.core.errors import (
    PicklingError,
    VlmInspectError,
    WorkerDiedError,
    WorkerError,
    WorkerStartError,
)
from vlm_inspect.core.options import InspectOptions

if TYPE_CHECKING:
    from collections.abc import Generator
    from concurrent.futures import Executor, Future


Model = TypeVar("Model")
Answer = TypeVar("Answer")


class Inspected(Struct, Generic[Model, Answer], frozen=True):
    """A model that was inspected."""

    model: Model
    answer: Answer


class Failed(Struct, Generic[Model], frozen=True):
    """A model that was not, and why."""

    model: Model
    error: VlmInspectError


Outcome = Inspected[Model, Answer] | Failed[Model]
Cached = Callable[[Model], Answer | None]
"""Returns the answer of a model where none has to be built."""

_THREADS = 8
"""Threads that load models."""
MAX_PENDING = 64
"""Models submitted to an executor before the first outcome is taken back: results must not pile up."""


def inspect_many(
    models: Iterable[Model],
    load: Callable[[Model], ResolvedModel],
    options: InspectOptions,
    *,
    executor: Executor | None = None,
    with_tree: bool = False,
) -> Iterator[Outcome[Model, Inspection]]:
    """Yield the outcome of each model: built on the executor, or else in `options.jobs` processes."""
    loaded = _loaded(models, load, options)
    task = _Task(options, with_tree)
    runner = partial(run_on, executor) if executor is not None else None
    if runner is None and options.jobs > 1:
        runner = partial(run_in_processes, options.jobs)
    outcomes = (
        run(loaded, task.answer)
        if runner is None
        else runner(loaded, task.answer, cached=task.cached, dedupe_key=task.dedupe_key)
    )
    with closing(cast("Generator[Outcome[Outcome[Model, ResolvedModel], Inspection]]", outcomes)):
        for outcome in outcomes:
            model = outcome.model.model
            if isinstance(outcome, Inspected):
                yield Inspected(model, outcome.answer)
            else:
                yield Failed(model, outcome.error)


def _loaded(
    models: Iterable[Model], load: Callable[[Model], ResolvedModel], options: InspectOptions
) -> Iterator[Outcome[Model, ResolvedModel]]:
    """Load the models, several at a time and ahead of the builds."""
    if sources.is_offline(options):  # nothing to wait for
        yield from run(models, load)
        return
    from concurrent.futures import ThreadPoolExecutor

    sources.prepare()
    threads = ThreadPoolExecutor(_THREADS)
    try:
        yield from run_on(threads, models, load)
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


class _Task(Struct, frozen=True):
    """What is done with each model that was loaded, here or in a worker."""

    options: InspectOptions
    with_tree: bool

    def answer(self, model: Outcome[Model, ResolvedModel]) -> Inspection:
        return pipeline.build_result(unwrap(model), self.options, with_tree=self.with_tree)

    def cached(self, model: Outcome[Model, ResolvedModel]) -> Inspection | None:
        return pipeline.cached_result(unwrap(model), self.options, with_tree=self.with_tree)

    def dedupe_key(self, model: Outcome[Model, ResolvedModel]) -> str | None:
        source = unwrap(model).source
        return pipeline.shared_key(source, self.options) if isinstance(source, Checkpoint) else None


def run(
    models: Iterable[Model],
    answer: Callable[[Model], Answer],
    *,
    cached: Cached[Model, Answer] | None = None,
) -> Iterator[Outcome[Model, Answer]]:
    """Yield outcomes, one after another. A VlmInspectError is an outcome; any other ends the run."""
    for model in models:
        yield _from_cache(cached, model) or outcome(answer, model)


def run_on(  # noqa: PLR0913 - the last three are choices with a default, by name
    executor: Executor,
    models: Iterable[Model],
    answer: Callable[[Model], Answer],
    *,
    cached: Cached[Model, Answer] | None = None,
    dedupe_key: Callable[[Model], Hashable] | None = None,
    max_pending: int = MAX_PENDING,
) -> Iterator[Outcome[Model, Answer]]:
    """As `run`, on an executor: models, `answer` and what it returns must survive pickling.

    Of models with one key only the first is submitted; the others wait for its outcome, and may be `cached`
    then. The executor stays the caller's; when the iterator is closed, what is pending is cancelled.
    """
    pending = _PendingQueue(executor, answer, cached, dedupe_key)
    try:
        for model in models:
            pending.add(model)
            if pending.is_next_done() or len(pending) >= max_pending:  # one out for one in
                yield pending.next()
        while len(pending):
            yield pending.next()
    finally:
        pending.cancel()


def run_in_processes(
    jobs: int,
    models: Iterable[Model],
    answer: Callable[[Model], Answer],
    *,
    cached: Cached[Model, Answer] | None = None,
    dedupe_key: Callable[[Model], Hashable] | None = None,
) -> Iterator[Outcome[Model, Answer]]:
    """As `run_on`, in processes of this machine. A process that is killed costs one model."""
    from vlm_inspect.app.process_pool import WorkerPool

    with WorkerPool(jobs) as workers:
        count = max(MAX_PENDING, 2 * jobs)
        yield from run_on(workers, models, answer, cached=cached, dedupe_key=dedupe_key, max_pending=count)


def outcome(answer: Callable[[Model], Answer], model: Model) -> Outcome[Model, Answer]:
    """The outcome of one model."""
    try:
        return Inspected(model, answer(model))
    except VlmInspectError as error:
        return Failed(model, error)


def unwrap(result: Outcome[Model, Answer]) -> Answer:
    """Return the answer, or raise the error of a model that failed."""
    if isinstance(result, Failed):
        raise result.error
    return result.answer


def _from_cache(cached: Cached[Model, Answer] | None, model: Model) -> Outcome[Model, Answer] | None:
    try:
        answer = cached(model) if cached is not None else None
    except VlmInspectError as error:
        return Failed(model, error)
    return None if answer is None else Inspected(model, answer)


class _Pending(Struct, Generic[Model, Answer]):
    """A model that was taken from the input. Without outcome and future it waits for one of its key."""

    model: Model
    key: Hashable
    outcome: Outcome[Model, Answer] | None = None
    future: Future[Outcome[Model, Answer] | _WorkerException] | None = None


class _PendingQueue(Generic[Model, Answer]):
    """The models between the input and the caller, in order."""

    def __init__(
        self,
        executor: Executor,
        answer: Callable[[Model], Answer],
        cached: Cached[Model, Answer] | None,
        dedupe_key: Callable[[Model], Hashable] | None,
    ) -> None:
        self._executor = executor
        self._task = partial(_run_task, answer)
        self._cached = cached
        self._dedupe_key = dedupe_key
        self._pending: deque[_Pending[Model, Answer]] = deque()
        self._keys: set[Hashable] = set()

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, model: Model) -> None:
        """Answer a model from the cache, or submit it unless one with its key has been."""
        known = _from_cache(self._cached, model)
        key = self._dedupe_key(model) if known is None and self._dedupe_key is not None else None
        pending = _Pending(model, key, known)
        if known is None and (key is None or key not in self._keys):
            pending.future = self._submit(model)
            self._keys.add(key)
        self._pending.append(pending)

    def is_next_done(self) -> bool:
        """Whether `next` would not wait."""
        first = self._pending[0]
        return first.outcome is not None or (first.future is not None and first.future.done())

    def next(self) -> Outcome[Model, Answer]:
        """Wait for the next outcome."""
        first = self._pending[0]
        if first.outcome is None and first.future is None:  # the one with its key has been yielded
            first.outcome = _from_cache(self._cached, first.model)
        if first.outcome is None:
            first.outcome = _result(first.model, first.future or self._submit(first.model))
        self._pending.popleft()
        self._keys.discard(first.key)
        return first.outcome

    def cancel(self) -> None:
        """Cancel what has not begun."""
        for pending in self._pending:
            if pending.future is not None:
                pending.future.cancel()

    def _submit(self, model: Model) -> Future[Outcome[Model, Answer] | _WorkerException]:
        from concurrent.futures import BrokenExecutor, Future

        try:
            return self._executor.submit(self._task, model)
        except BrokenExecutor as error:
            broken: Future[Outcome[Model, Answer] | _WorkerException] = Future()
            broken.set_exception(error)
            return broken


class _WorkerException(Struct, frozen=True):
    """A bug, on its way back from a worker."""

    error: Exception
    traceback: str


class _RemoteTraceback(Exception):  # noqa: N818 - it is shown as the cause of a bug, and is none
    """The traceback of a bug in another process or thread."""


def _run_task(answer: Callable[[Model], Answer], model: Model) -> Outcome[Model, Answer] | _WorkerException:
    """Return what the work raises: an exception of the future is then the executor's own."""
    try:
        return outcome(answer, model)
    except Exception as error:  # noqa: BLE001 - raised again in _result
        return _WorkerException(_picklable(error), traceback.format_exc())


def _picklable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    except Exception:  # noqa: BLE001 - whatever the error's own class raises
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _result(model: Model, future: Future[Outcome[Model, Answer] | _WorkerException]) -> Outcome[Model, Answer]:
    try:
        result = future.result()
    except WorkerStartError:
        raise
    except Exception as error:  # noqa: BLE001 - every executor has its own for a worker that is gone
        return Failed(model, _worker_error(error))
    if isinstance(result, _WorkerException):
        raise result.error from _RemoteTraceback(f"\n{result.traceback}")
    return result


def _worker_error(error: Exception) -> WorkerError:
    """What an executor's exception means: the worker is gone, or something cannot be sent to it."""
    if isinstance(error, WorkerError):
        return error
    reason = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, (pickle.PicklingError, AttributeError, TypeError)) or "pickle" in reason:
        return PicklingError(
            f"it cannot be sent to a worker, or its result back: {reason}",
            hint="Run without --jobs, or on an executor of threads.",
        )
    return WorkerDiedError(
        f"its worker was lost: {reason}",
        hint="It may have run out of memory: inspect this model alone, or with fewer workers.",
    )
