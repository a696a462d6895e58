"""A time limit for the requests that one model takes, whatever the server does, and threads that share it.

The transport limits the time of each read, so a server that sends a byte now and then would never end. The
threads are daemons: a process that gives up need not wait for them.
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
    """The work did not end in time."""


def run_with_timeout(seconds: float, work: Callable[[], T]) -> T:
    """Return what `work` returns, or raise what it raises.

    Raises DeadlineExceededError if it takes longer. Its thread then stops at its next `check_deadline`.
    """

    def run() -> T:
        _deadline.set(time.monotonic() + seconds)
        return work()

    future = _start(run)
    if not wait([future], timeout=min(seconds, TIMEOUT_MAX)).done:
        raise DeadlineExceededError
    return future.result()


def run_in_parallel(work: Callable[[Item], T], items: Iterable[Item], threads: int = 8) -> dict[Item, T]:
    """Return the result of `work` for each item, in their order. The first error is raised."""
    order = list(items)
    pending = iter(order)  # shared by the threads
    results: dict[Item, T] = {}

    def run() -> None:
        try:
            for item in pending:
                results[item] = work(item)
        finally:
            for _ in pending:  # after an error, the other threads begin nothing more
                pass

    for future in [_start(run) for _ in range(min(threads, len(order)))]:
        future.result()
    return {item: results[item] for item in order}


def check_deadline() -> None:
    """Raise DeadlineExceededError where the deadline of this work has passed."""
    if not has_time(0):
        raise DeadlineExceededError


def has_time(seconds: float) -> bool:
    """Whether a wait of so many seconds ends before the deadline."""
    return time.monotonic() + seconds < _deadline.get()


def _start(work: Callable[[], T]) -> Future[T]:
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again by future.result()
            future.set_exception(error)

    Thread(target=copy_context().run, args=(run,), name="vlm-inspect-hub", daemon=True).start()
    return future
