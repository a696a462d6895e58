"""Ctrl-C, heard even where it arrives at a bad moment.

Python raises KeyboardInterrupt wherever it happens to be. In the clean-up of an object it is dropped with a
traceback, and a library that is being imported may make another error of it. So it is remembered, and
raised again before the next word is written.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, current_thread, main_thread
from types import FrameType
from typing import Any

_pressed = Event()


@contextmanager
def heard() -> Iterator[None]:
    """Remember Ctrl-C while a command runs."""
    _pressed.clear()
    if current_thread() is not main_thread():  # only the main thread is interrupted, and may say how
        yield
        return
    before, hook = signal.signal(signal.SIGINT, _press), sys.unraisablehook
    sys.unraisablehook = _quiet(hook)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        sys.unraisablehook = hook


def check() -> None:
    """Raise the KeyboardInterrupt that was dropped; nothing where there was none."""
    if _pressed.is_set():
        raise KeyboardInterrupt


def forget() -> None:
    """It has been dealt with: more may be said."""
    _pressed.clear()


def _press(_signal: int, _frame: FrameType | None) -> None:
    _pressed.set()
    raise KeyboardInterrupt


def _quiet(hook: Callable[[Any], Any]) -> Callable[[Any], None]:
    """No traceback for a KeyboardInterrupt that could not be raised: it will be."""

    def tell(unraisable: Any) -> None:
        if not isinstance(unraisable.exc_value, KeyboardInterrupt):
            hook(unraisable)

    return tell
