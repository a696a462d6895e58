"""Ctrl-C, SIGTERM and SIGHUP: a KeyboardInterrupt in the running command, and soon the end of the process.

Files are replaced as a whole, so the process may end at any moment. The exception lets temporary files and
worker processes go first. Where a library swallows it, a timer ends the process, or a second Ctrl-C does.
"""

from __future__ import annotations

import atexit
import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130
MESSAGE = "interrupted"

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
_SECONDS = 0.8
"""From the exception to the end of the process, if it has not ended by then."""
_IMPORTING = "<frozen importlib._bootstrap>"


class _State:
    received: int | None = None
    """The first signal that was received."""
    is_interruptible = False
    """Whether a command runs."""
    is_announced = False
    """Whether the message was printed."""
    restore = ""
    """The control codes that remove the progress bar from the terminal."""


def install_handlers() -> None:
    """Handle the signals of this process, but for those that it was started to ignore, as under nohup."""
    for number in [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]:
        if signal.getsignal(number) in {signal.SIG_DFL, signal.default_int_handler}:
            signal.signal(number, _handle)
    show = sys.unraisablehook
    # raised where nothing can catch it, as in a destructor: the command goes on, and then ends as interrupted
    sys.unraisablehook = lambda error: None if error.exc_type is KeyboardInterrupt else show(error)


@contextmanager
def interruptible() -> Iterator[None]:
    """The block of a command, in which a signal is raised as KeyboardInterrupt."""
    _State.is_interruptible, _State.is_announced = True, False
    try:
        yield
    finally:
        _State.is_interruptible = False


@contextmanager
def progress_bar(restore: str) -> Iterator[None]:
    """The block in which a progress bar is shown; `restore` removes it, and shows the cursor."""
    _State.restore = restore
    yield
    _State.restore = ""  # not after an exception: it may have come between hiding the cursor and showing it


def was_received() -> bool:
    """Whether there was a signal, whatever became of its exception."""
    return _State.received is not None


def check() -> None:
    """Raise KeyboardInterrupt where there was a signal, and a library has dropped its exception."""
    if was_received():
        raise KeyboardInterrupt


def message() -> str:
    """What to print, once: nothing after another signal than Ctrl-C, or where nobody reads."""
    is_due = not _State.is_announced and _State.received in {None, signal.SIGINT} and _is_writable()
    _State.is_announced = True
    return MESSAGE if is_due else ""


def end_process() -> NoReturn:
    """End as interrupted, waiting for no thread and no reader."""
    atexit._run_exitfuncs()  # noqa: SLF001 - the end of multiprocessing; os._exit leaves it out
    _end()


def _handle(number: int, frame: FrameType | None) -> None:
    is_first = _State.received is None
    _State.received = _State.received or number
    # a library that is half imported makes another error of an exception, in C++ the end of the process
    if is_first and _State.is_interruptible and not _is_importing(frame):
        if hasattr(signal, "setitimer"):
            signal.signal(signal.SIGALRM, lambda *_: _end())
            signal.setitimer(signal.ITIMER_REAL, _SECONDS)
        raise KeyboardInterrupt
    if is_first:
        end_process()
    _end()


def _end() -> NoReturn:
    text = message()
    with suppress(OSError):
        os.write(2, (_State.restore + (f"{text}\n" if text else "")).encode())
    number = _State.received
    if number not in {None, signal.SIGINT}:  # whoever sent it sees that it was obeyed
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(INTERRUPTED)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTING:
            return True
        frame = frame.f_back
    return False


def _is_writable() -> bool:
    """Whether standard error takes a line now, and does not wait for a reader."""
    try:
        return bool(select.select([], [sys.stderr], [], 0)[1])
    except (OSError, ValueError):  # no descriptor, as in a test, or Windows
        return True
