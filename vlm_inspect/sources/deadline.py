"""A bound on how long a dialogue with the Hub may take, whatever the other side does.

huggingface_hub has time limits for one read and counts its attempts, but it sleeps as long as a
Retry-After says and resumes a dropped download as often as one more byte came. Nothing in its
interface bounds the whole.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Thread
from typing import TypeVar

T = TypeVar("T")

THREAD = "vlm-inspect-hub"


class OutOfTimeError(Exception):
    """The work did not end in time."""


def within(seconds: float, work: Callable[[], T]) -> T:
    """What `work` returns or raises. OutOfTimeError if it takes longer, and its thread is left behind.

    The thread is a daemon, so that a process which has its answer need not wait for it.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again where the result is asked for
            future.set_exception(error)

    Thread(target=run, name=THREAD, daemon=True).start()
    wait([future], timeout=seconds)
    if not future.done():
        raise OutOfTimeError
    return future.result()
