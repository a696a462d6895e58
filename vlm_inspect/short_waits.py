"""Waiting so that Ctrl-C is heard.

Python runs a signal's handler in the main thread, between two steps of it. A signal that comes after the last
step and before the thread has fallen asleep does not wake it: one that sleeps without end never hears it. So
whoever may be the main thread sleeps a moment at a time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurrent.futures import Future
    from threading import Thread

_MOMENT = 0.2


def short_waits(seconds: float = float("inf")) -> Iterator[float]:
    """How long to wait now, again and again until so many seconds have passed; at least once."""
    ends = time.monotonic() + seconds
    while True:
        left = ends - time.monotonic()
        yield min(max(left, 0.0), _MOMENT)
        if left <= 0:
            return


def is_done(future: Future[Any], seconds: float = float("inf")) -> bool:
    """Whether a future is done, when it is or when so many seconds have passed."""
    from concurrent.futures import wait

    return any(wait([future], moment).done for moment in short_waits(seconds))


def join(thread: Thread) -> None:
    """Return when a thread has ended. Raises RuntimeError for one that was not started."""
    for moment in short_waits():
        thread.join(moment)
        if not thread.is_alive():
            return
