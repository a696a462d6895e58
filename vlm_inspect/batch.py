"""Many models: each ends as an answer or as the reason why there is none, in the order asked.

Knows nothing of how an answer is made, nor of progress bars: it yields, and the caller draws. Where it
runs is the business of a `concurrent.futures.Executor`, of this machine or of a cluster.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Generic, TypeVar

from vlm_inspect.errors import VlmInspectError, WorkerDiedError

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Inspected(Generic[Asked, Answer]):
    """A model that was answered."""

    asked: Asked
    answer: Answer


@dataclass(frozen=True, slots=True)
class Failed(Generic[Asked]):
    """A model that was not, and why."""

    asked: Asked
    error: VlmInspectError


Outcome = Inspected[Asked, Answer] | Failed[Asked]

_AHEAD = 64
"""Most models handed to an executor before the first of them is taken back: results must not pile up."""


def run(asked: Iterable[Asked], answer: Callable[[Asked], Answer]) -> Iterator[Outcome[Asked, Answer]]:
    """Outcomes, one after another. An error of a model's own is its outcome; a bug ends the run."""
    for one in asked:
        yield outcome(answer, one)


def run_on(
    executor: Executor, asked: Iterable[Asked], answer: Callable[[Asked], Answer]
) -> Iterator[Outcome[Asked, Answer]]:
    """As `run`, on an executor. `asked`, `answer` and what it returns must survive pickling."""
    task = partial(_contained, answer)
    waiting: deque[tuple[Asked, Future[Outcome[Asked, Answer] | _Bug]]] = deque()
    remaining = iter(asked)
    while True:
        waiting.extend(
            (one, _submit(executor, task, one)) for one in islice(remaining, _AHEAD - len(waiting))
        )
        if not waiting:
            return
        one, future = waiting.popleft()
        yield _of(one, future)


def run_in_processes(
    jobs: int, asked: Iterable[Asked], answer: Callable[[Asked], Answer]
) -> Iterator[Outcome[Asked, Answer]]:
    """As `run`, in processes of this machine. A process that is killed costs the model that it was at."""
    remaining = deque(asked)
    while remaining:
        with _pool(jobs) as pool:
            for result in run_on(pool, tuple(remaining), answer):
                if isinstance(result, Failed) and isinstance(result.error, WorkerDiedError):
                    break  # the pool is broken, and does not say at which of the models in work
                remaining.popleft()
                yield result
            else:
                return
        yield _alone(remaining.popleft(), answer)


def outcome(answer: Callable[[Asked], Answer], one: Asked) -> Outcome[Asked, Answer]:
    """One model's outcome."""
    try:
        return Inspected(one, answer(one))
    except VlmInspectError as error:
        return Failed(one, error)


def _alone(one: Asked, answer: Callable[[Asked], Answer]) -> Outcome[Asked, Answer]:
    """A model in a process of its own: if that dies, it died of this model."""
    with _pool(1) as pool:
        return next(run_on(pool, [one], answer))


@dataclass(frozen=True, slots=True)
class _Bug:
    """What no model is to blame for, on its way back from a worker."""

    error: Exception


def _contained(answer: Callable[[Asked], Answer], one: Asked) -> Outcome[Asked, Answer] | _Bug:
    """Whatever the work raises, as a value: what is raised beside it is then the executor's own."""
    try:
        return outcome(answer, one)
    except Exception as error:  # noqa: BLE001 - raised again by the one who waits
        return _Bug(error)


def _submit(
    executor: Executor, task: Callable[[Asked], Outcome[Asked, Answer] | _Bug], one: Asked
) -> Future[Outcome[Asked, Answer] | _Bug]:
    """A future, of an executor that no longer takes work too."""
    try:
        return executor.submit(task, one)
    except BrokenExecutor as error:
        broken: Future[Outcome[Asked, Answer] | _Bug] = Future()
        broken.set_exception(error)
        return broken


def _of(one: Asked, future: Future[Outcome[Asked, Answer] | _Bug]) -> Outcome[Asked, Answer]:
    try:
        result = future.result()
    except Exception as error:  # noqa: BLE001 - every executor has its own for a worker that is gone
        return Failed(one, _died(error))
    if isinstance(result, _Bug):
        raise result.error
    return result


def _died(error: Exception) -> WorkerDiedError:
    said = " ".join(str(error).split()) or type(error).__name__
    return WorkerDiedError(
        f"the process that worked on it was killed: {said}",
        hint="The system may have run out of memory: ask for this model alone, or with fewer --jobs.",
    )


def _pool(jobs: int) -> _Pool:
    from multiprocessing import get_context

    # forked children of a process with threads may hang; these start clean
    return _Pool(jobs, mp_context=get_context("spawn"))


class _Pool(ProcessPoolExecutor):
    """A pool that, when the caller loses interest, does not finish what nobody waits for."""

    def __exit__(self, *exception: object) -> bool | None:
        with suppress(BrokenExecutor):
            self.shutdown(wait=True, cancel_futures=True)
        return None
