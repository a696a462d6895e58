"""A time limit for all Hub requests of one model, and threads that share it.

The HTTP library limits the time of each read only: a server that sends one byte at a time would never end.
The threads are daemons, so a process can exit without waiting for them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future, wait
from contextvars import ContextVar, copy_context
from threading import TIMEOUT_MAX, Thread
from typing import TypeVar

Item = TypeVar("Item", bound=Hashable)
T = TypeVar("T")

_deadline: ContextVar[float] = ContextVar("_deadline", default=float("inf"))


class DeadlineExceededError(Exception):
    """The work did not finish in time."""


def run_with_timeout(seconds: float, work: Callable[[], T]) -> T:
    """Return the result of `work`. After a DeadlineExceededError, it stops at its next `check_deadline`."""

    def run() -> T:
        _deadline.set(time.monotonic() + seconds)
        return work()

    future = _start_thread(run)
    if not wait([future], timeout=min(seconds, TIMEOUT_MAX)).done:
        raise DeadlineExceededError
    return future.result()


def run_in_parallel(work: Callable[[Item], T], items: Iterable[Item], threads: int = 8) -> dict[Item, T]:
    """Return the result of `work` for each item, in the order of the items, or raise the first error."""
    order = list(items)
    pending = iter(order)  # shared by the threads
    results: dict[Item, T] = {}

    def run() -> None:
        try:
            for item in pending:
                results[item] = work(item)
        finally:
            list(pending)  # after an error, the other threads start no further item

    for future in [_start_thread(run) for _ in range(min(threads, len(order)))]:
        future.result()
    return {item: results[item] for item in order}


def check_deadline() -> None:
    """Raise DeadlineExceededError if the deadline of this work has passed."""
    if not has_time(0):
        raise DeadlineExceededError


def has_time(seconds: float) -> bool:
    """Whether a wait of that many seconds ends before the deadline."""
    return time.monotonic() + seconds < _deadline.get()


def _start_thread(work: Callable[[], T]) -> Future[T]:
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again by future.result()
            future.set_exception(error)

    Thread(target=copy_context().run, args=(run,), name="vlm-inspect-hub", daemon=True).start()
    return future
