"""Ctrl-C, and being told to stop (SIGTERM, SIGHUP): heard even at a bad moment, and obeyed within a second.

Python raises KeyboardInterrupt wherever it happens to be. In the clean-up of an object it is dropped with a
traceback, and a library that is being imported may make another error of it, or of C++ the end of the
process. So it is remembered, and raised again before the next word is written; in an import it is remembered
alone. What is begun is undone on the way out; in a process of the program's own that may take most of a
second, then it ends as it is.
"""

from __future__ import annotations

import _thread
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import current_thread, main_thread
from types import FrameType
from typing import Any

INTERRUPTED = 130
WORD = "interrupted"
"""What a user who pressed Ctrl-C reads."""
_PATIENCE = 0.8
_IMPORTS = "<frozen importlib._bootstrap>"
_STOPS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class _State:
    """What this process has heard."""

    signal: int | None = None
    is_own = False
    """Whether the process is the program's, and may be ended at any moment."""
    undrawn = ""
    """What takes a line that is being drawn off the terminal."""
    word = _thread.allocate_lock()
    """Held from when the word is said: by the main thread, or where that takes too long by another."""


def own_process() -> None:
    """This process is the program's: outside of a command, where nothing is begun, Ctrl-C ends it at once."""
    _State.is_own = True
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))


@contextmanager
def heard() -> Iterator[None]:
    """Remember what says to stop while a command runs. What the process was started to ignore, it ignores."""
    forget()
    _State.word = _thread.allocate_lock()
    if current_thread() is not main_thread():  # only the main thread is interrupted, and may say how
        yield
        return
    listened = [number for number in (signal.SIGINT, *_STOPS) if _may_be_heard(number)]
    before = {number: signal.signal(number, _press) for number in listened}
    hook = sys.unraisablehook
    sys.unraisablehook = _quiet(hook)
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)


def check() -> None:
    """Raise the KeyboardInterrupt that was dropped; nothing where there was none."""
    if _State.signal is not None:
        raise KeyboardInterrupt


def forget() -> int | None:
    """It has been dealt with: more may be said. Returns the signal that it was."""
    number, _State.signal = _State.signal, None
    return number


@contextmanager
def drawing(undrawn: str) -> Iterator[None]:
    """While something is drawn, and whoever draws it may be ended: how to take it off the terminal."""
    _State.undrawn = undrawn
    try:
        yield
    finally:
        _State.undrawn = ""


def may_say_word() -> bool:
    """Whether nobody has said it: true once, for whoever asks first."""
    return _State.word.acquire(blocking=False)


def end_by(number: int) -> None:
    """End as a program does that hears nothing: whoever sent the signal sees that it was obeyed."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _may_be_heard(number: int) -> bool:
    """Not under nohup, nor in the background of a script; and not where somebody else listens."""
    handler = signal.getsignal(number)
    return handler is signal.SIG_DFL or (number == signal.SIGINT and callable(handler))


def _press(number: int, frame: FrameType | None) -> None:
    if _State.signal is not None:  # the first is being obeyed: a second would cut that short
        return
    _State.signal = number
    if _State.is_own:
        # by hand: threading's own start waits for a lock that the code interrupted here may hold
        _thread.start_new_thread(_end_late, (128 + number,))
        if _is_in_an_import(frame):
            return
    raise KeyboardInterrupt


def _is_in_an_import(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTS:
            return True
        frame = frame.f_back
    return False


def _end_late(code: int) -> None:
    time.sleep(_PATIENCE)
    _say_if_read(_State.undrawn + (f"{WORD}\n" if code == INTERRUPTED and may_say_word() else ""))
    os._exit(code)


def _say_if_read(text: str) -> None:
    """On stderr, past Python's streams, whose locks may be held; nobody is waited for."""
    with suppress(OSError, ValueError):
        if select.select([], [2], [], 0)[1]:
            os.write(2, text.encode())


def _quiet(hook: Callable[[Any], Any]) -> Callable[[Any], None]:
    """No traceback for a KeyboardInterrupt that could not be raised: it will be."""

    def tell(unraisable: Any) -> None:
        if not isinstance(unraisable.exc_value, KeyboardInterrupt):
            hook(unraisable)

    return tell
