"""Many models: each ends as an answer or as the reason why there is none, in the order asked.

Knows nothing of how an answer is made, nor of progress bars: it yields, and the caller draws. Where it
runs is the business of a `concurrent.futures.Executor`, of this machine or of a cluster.

Models are taken from `asked` as they are needed, and their outcomes given out as they come, so that both
may be of any number. What is `at_hand` is answered here and now: no executor is asked, no process started.
"""

from __future__ import annotations

import pickle
import traceback
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from msgspec import Struct

from vlm_inspect.errors import NoWorkerError, UnsentError, VlmInspectError, WorkerDiedError, WorkerError
from vlm_inspect.short_waits import is_done

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


class Inspected(Struct, Generic[Asked, Answer], frozen=True):
    """A model that was answered."""

    asked: Asked
    answer: Answer


class Failed(Struct, Generic[Asked], frozen=True):
    """A model that was not, and why."""

    asked: Asked
    error: VlmInspectError


Outcome = Inspected[Asked, Answer] | Failed[Asked]
AtHand = Callable[[Asked], Answer | None]
"""What is known of a model already; None where it must be worked on."""

AHEAD = 64
"""Most models handed to an executor before the first of them is taken back: results must not pile up."""


def run(
    asked: Iterable[Asked],
    answer: Callable[[Asked], Answer],
    *,
    at_hand: AtHand[Asked, Answer] | None = None,
) -> Iterator[Outcome[Asked, Answer]]:
    """Outcomes, one after another. An error of a model's own is its outcome; a bug ends the run."""
    for one in asked:
        yield _known(at_hand, one) or outcome(answer, one)


def run_on(  # noqa: PLR0913 - the last three are choices with a default, by name
    executor: Executor,
    asked: Iterable[Asked],
    answer: Callable[[Asked], Answer],
    *,
    at_hand: AtHand[Asked, Answer] | None = None,
    same: Callable[[Asked], Hashable] | None = None,
    ahead: int = AHEAD,
) -> Iterator[Outcome[Asked, Answer]]:
    """As `run`, on an executor. `asked`, `answer` and what it returns must survive pickling.

    Two models that are the `same` are not worked on at once: the second waits until the first was given
    out, and may be `at_hand` then. At most `ahead` models are taken from `asked` before they are given out.
    The executor stays the caller's; models that nobody waits for any more are taken back from it.
    """
    places = _Places(executor, answer, at_hand, same)
    try:
        for one in asked:
            places.add(one)
            if places.is_next_done() or len(places) >= ahead:  # one out for one in: as many stay under way
                yield places.next()
        while len(places):
            yield places.next()
    finally:
        places.give_up()


def run_in_processes(
    jobs: int,
    asked: Iterable[Asked],
    answer: Callable[[Asked], Answer],
    *,
    at_hand: AtHand[Asked, Answer] | None = None,
    same: Callable[[Asked], Hashable] | None = None,
) -> Iterator[Outcome[Asked, Answer]]:
    """As `run_on`, in processes of this machine. One that is killed costs the model that it was at."""
    from vlm_inspect.workers import Workers

    with Workers(jobs) as workers:
        ahead = max(AHEAD, 2 * jobs)
        yield from run_on(workers, asked, answer, at_hand=at_hand, same=same, ahead=ahead)


def outcome(answer: Callable[[Asked], Answer], one: Asked) -> Outcome[Asked, Answer]:
    """One model's outcome."""
    try:
        return Inspected(one, answer(one))
    except VlmInspectError as error:
        return Failed(one, error)


def unwrapped(result: Outcome[Asked, Answer]) -> Answer:
    """The answer. Raises the error of a model that has none."""
    if isinstance(result, Failed):
        raise result.error
    return result.answer


def _known(at_hand: AtHand[Asked, Answer] | None, one: Asked) -> Outcome[Asked, Answer] | None:
    """The outcome of what is at hand, or of what cannot be looked for."""
    try:
        answer = at_hand(one) if at_hand is not None else None
    except VlmInspectError as error:
        return Failed(one, error)
    return None if answer is None else Inspected(one, answer)


class _Places(Generic[Asked, Answer]):
    """The models between `asked` and the caller, in order: known, worked on, or waiting for the same one."""

    def __init__(
        self,
        executor: Executor,
        answer: Callable[[Asked], Answer],
        at_hand: AtHand[Asked, Answer] | None,
        same: Callable[[Asked], Hashable] | None,
    ) -> None:
        self._executor = executor
        self._task = partial(_contained, answer)
        self._at_hand = at_hand
        self._same = same
        self._waiting: deque[_Place[Asked, Answer]] = deque()
        self._keys: set[Hashable] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, one: Asked) -> None:
        """Answer it, or hand it to the executor, unless one that is the same has been."""
        known = _known(self._at_hand, one)
        key = self._same(one) if known is None and self._same is not None else None
        future = None
        if known is None and (key is None or key not in self._keys):
            future = self._executor_takes(one)
            self._keys.add(key)
        self._waiting.append(_Place(one, key, known, future))

    def is_next_done(self) -> bool:
        """Whether the next one's outcome is there."""
        if not self._waiting:
            return False
        first = self._waiting[0]
        return first.known is not None or (first.future is not None and first.future.done())

    def next(self) -> Outcome[Asked, Answer]:
        """The next one's outcome, when it is there."""
        first = self._waiting[0]
        if first.known is None and first.future is None:  # the one that it waited for has been given out
            first.known = _known(self._at_hand, first.one)
            first.future = self._executor_takes(first.one) if first.known is None else None
        result = first.known or _of(first)
        self._waiting.popleft()
        self._keys.discard(first.key)
        return result

    def give_up(self) -> None:
        """Nobody waits for what is left."""
        for place in self._waiting:
            if place.future is not None:
                place.future.cancel()

    def _executor_takes(self, one: Asked) -> Future[Outcome[Asked, Answer] | _Bug]:
        """A future, of an executor that no longer takes work too."""
        from concurrent.futures import BrokenExecutor, Future

        try:
            return self._executor.submit(self._task, one)
        except BrokenExecutor as error:
            broken: Future[Outcome[Asked, Answer] | _Bug] = Future()
            broken.set_exception(error)
            return broken


class _Place(Struct, Generic[Asked, Answer]):
    one: Asked
    key: Hashable
    known: Outcome[Asked, Answer] | None
    future: Future[Outcome[Asked, Answer] | _Bug] | None


class _Bug(Struct, frozen=True):
    """What no model is to blame for, on its way back from a worker."""

    error: Exception
    where: str


class _ElsewhereError(Exception):
    """The traceback of a bug that came up in another process or thread."""


def _contained(answer: Callable[[Asked], Answer], one: Asked) -> Outcome[Asked, Answer] | _Bug:
    """Whatever the work raises, as a value: what is raised beside it is then the executor's own."""
    try:
        return outcome(answer, one)
    except Exception as error:  # noqa: BLE001 - raised again by the one who waits
        return _Bug(_sendable(error), traceback.format_exc())


def _sendable(error: Exception) -> Exception:
    """The error, or one with its words: some cannot be made again from what pickling keeps of them."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    except Exception:  # noqa: BLE001 - whatever the error's own class raises
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _of(place: _Place[Asked, Answer]) -> Outcome[Asked, Answer]:
    assert place.future is not None  # noqa: S101 - for the type checker: nothing else was known of it
    try:
        is_done(place.future)
        result = place.future.result()
    except NoWorkerError:
        raise
    except Exception as error:  # noqa: BLE001 - every executor has its own for a worker that is gone
        return Failed(place.one, _lost(error))
    if isinstance(result, _Bug):
        raise result.error from _ElsewhereError(f"\n{result.where}")
    return result


def _lost(error: Exception) -> WorkerError:
    """Why an executor brings no answer back, of its worker's death and of what cannot be sent."""
    if isinstance(error, WorkerError):
        return error
    said = " ".join(str(error).split()) or type(error).__name__
    # what pickle raises; the answer's own errors do not come this way
    if isinstance(error, (pickle.PicklingError, AttributeError, TypeError)) or "pickle" in said:
        return UnsentError(
            f"it cannot be sent to a worker, or its answer back: {said}",
            hint="Ask for it without an executor, or on one of threads.",
        )
    return WorkerDiedError(
        f"the worker that it was given to was lost: {said}",
        hint="It may have run out of memory: ask for this model alone, or with fewer workers.",
    )
