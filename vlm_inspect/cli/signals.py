"""Ctrl-C, SIGTERM and SIGHUP end the process at once.

Files are replaced as a whole, so nothing has to be unwound. An exception would have to pass through libraries
that swallow it, or through a half-imported one, which can abort the process.
"""

from __future__ import annotations

import atexit
import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

INTERRUPTED = 130
MESSAGE = "interrupted"

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
_restore = ""
"""Control codes that remove the progress bar from the terminal and show the cursor."""


def install_handlers() -> None:
    """Handle the signals of this process, except those that it was started to ignore, as under nohup."""
    for number in [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]:
        if signal.getsignal(number) in {signal.SIG_DFL, signal.default_int_handler}:
            signal.signal(number, _end)


@contextmanager
def progress_bar(restore: str) -> Iterator[None]:
    """Write `restore` to the terminal if a signal ends the process inside this block."""
    global _restore  # noqa: PLW0603 - a signal handler has no other way to state
    _restore = restore
    try:
        yield
    finally:
        _restore = ""


def _end(number: int, _: FrameType | None) -> None:
    # a second one does not wait for the exit functions
    signal.signal(number, _exit if number == signal.SIGINT else signal.SIG_DFL)
    message = f"{MESSAGE}\n" if number == signal.SIGINT else ""
    with suppress(OSError, ValueError):
        if select.select([], [2], [], 0)[1]:  # a pipe that is full, and not read, would block
            os.write(2, (_restore + message).encode())
    atexit._run_exitfuncs()  # noqa: SLF001 - removes temporary files and ends workers; os._exit does not
    if number != signal.SIGINT:  # the parent sees which signal ended the process
        os.kill(os.getpid(), number)
    _exit()


def _exit(*_: object) -> None:
    os._exit(INTERRUPTED)
