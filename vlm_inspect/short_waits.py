"""Waiting so that Ctrl-C is heard.

Python runs a signal's handler in the main thread, between two steps of it. A signal that comes after the last
step and before the thread has fallen asleep does not wake it: one that sleeps without end never hears it. So
whoever may be the main thread sleeps a moment at a time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

_MOMENT = 0.2


def short_waits(seconds: float = float("inf")) -> Iterator[float]:
    """How long to wait now, again and again until so many seconds have passed; at least once."""
    ends = time.monotonic() + seconds
    while True:
        left = ends - time.monotonic()
        yield min(max(left, 0.0), _MOMENT)
        if left <= 0:
            return
