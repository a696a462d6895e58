"""A bound on how long a dialogue with the Hub may take, whatever the other side does.

A transport has a time limit for one read, and a server that sends a byte before each is past never ends.
Who waits is free at the deadline; what works for it looks at the clock between two reads, and leaves off.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextvars import ContextVar, copy_context
from threading import TIMEOUT_MAX, Thread
from typing import TypeVar

T = TypeVar("T")

THREAD = "vlm-inspect-hub"

_until: ContextVar[float] = ContextVar("_until", default=float("inf"))


class OutOfTimeError(Exception):
    """The work did not end in time."""


def within(seconds: float, work: Callable[[], T]) -> T:
    """What `work` returns or raises. OutOfTimeError if it takes longer, and its thread is left behind.

    The thread is a daemon, so that a process which has its answer need not wait for it.
    """
    future: Future[T] = Future()

    def run() -> None:
        _until.set(time.monotonic() + seconds)
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again where the result is asked for
            future.set_exception(error)

    start_thread(run)
    if not wait([future], min(seconds, TIMEOUT_MAX)).done:
        raise OutOfTimeError
    return future.result()


def still_in_time() -> None:
    """Raise OutOfTimeError where nobody waits for this work any more."""
    if time.monotonic() > _until.get():
        raise OutOfTimeError


def time_for(seconds: float) -> bool:
    """Whether so long a wait leaves time to go on."""
    return time.monotonic() + seconds < _until.get()


def start_thread(work: Callable[[], None]) -> Thread:
    """A thread that nobody has to wait for, with the deadline of the one that starts it."""
    thread = Thread(target=copy_context().run, args=(work,), name=THREAD, daemon=True)
    thread.start()
    return thread
