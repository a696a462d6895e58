"""What a case may not do: write elsewhere, start a process, open a connection, take too long or too much."""

from __future__ import annotations

import os
import re
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECONDS = 10
"""Of work on one input."""
PATIENCE = 60
"""Seconds of waiting, where other work on the machine or a lock keeps an input from its end."""
MEMORY = 2 * 2**30
"""Bytes that one input may add to the most that the process has held."""
_ADDRESSES = 12 * 2**30
"""Bytes of address space beyond what the process has at its start: what stops a runaway allocation."""

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = {
    "os.rename": 2,
    "os.link": 2,
    "os.symlink": 2,
    "os.remove": 1,
    "os.rmdir": 1,
    "os.mkdir": 1,
    "os.truncate": 1,
    "os.chmod": 1,
    "os.chown": 1,
    "shutil.rmtree": 1,
}
_STARTS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "pty.spawn"}
_CONNECTS = {"socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.bind"}
_RUNS = {"pickle.find_class"}
# of `table --write`, in the system's temporary folder
_LOCK = re.compile(re.escape(tempfile.gettempdir()) + r"/vlm-inspect-[0-9a-f]{8}\.lock")


class TooLongError(BaseException):
    """An input took longer than it may. Not an Exception: nobody may catch it on the way."""


@dataclass(slots=True)
class Allowed:
    """What the case in work may do, and what it did beyond."""

    folder: Path
    writes: tuple[Path, ...] = ()
    starts: bool = False
    anywhere: bool = False
    faults: list[str] = field(default_factory=list)


class Watch:
    """The hook of this process: there can be only one, and it stays."""

    def __init__(self, bait: Path, homes: tuple[Path, ...]) -> None:
        self._bait = str(bait)
        self._homes = tuple(str(home) for home in homes)
        self._allowed: Allowed | None = None
        sys.addaudithook(self._hear)
        self._ends = 0.0, 0.0
        signal.signal(signal.SIGALRM, self._ring)

    @contextmanager
    def over(self, allowed: Allowed) -> Iterator[None]:
        """Watch while a case is in work; its faults are in `allowed` after."""
        before = most_memory()
        self._allowed = allowed
        self._ends = time.process_time() + SECONDS, time.monotonic() + PATIENCE
        signal.setitimer(signal.ITIMER_REAL, SECONDS, 1)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._allowed = None
        grown = most_memory() - before
        if grown > MEMORY:
            allowed.faults.append(f"took {grown / 2**20:,.0f} MiB")

    def _hear(self, event: str, given: tuple[Any, ...]) -> None:
        allowed = self._allowed
        if allowed is None:
            return
        if event == "open":
            self._opened(given, allowed)
        elif event in _CHANGES:
            for path in given[: _CHANGES[event]]:
                self._changed(event, path, allowed)
        elif event in _CONNECTS:
            allowed.faults.append(f"{event} {given[1:]!r}"[:200])
        elif (event in _STARTS and not allowed.starts) or event in _RUNS:
            allowed.faults.append(f"{event} {given!r}"[:200])

    def _ring(self, _signal: int, _frame: object) -> None:
        work, waiting = self._ends
        if self._allowed is not None and (time.process_time() > work or time.monotonic() > waiting):
            raise TooLongError

    def _opened(self, given: tuple[Any, ...], allowed: Allowed) -> None:
        path, _, flags = given
        if isinstance(flags, int) and flags & _WRITES:
            self._changed("open", path, allowed)
        elif not allowed.anywhere and self._is_bait(path):
            allowed.faults.append(
                f"read {os.fsdecode(path)!r}, which lies outside of the case's folder"[:200]
            )

    def _is_bait(self, path: Any) -> bool:
        if not isinstance(path, (str, bytes, os.PathLike)):
            return False
        real = _real(path)
        return real.startswith(self._bait) or real in ("/etc/passwd", "/etc/shadow")

    def _changed(self, event: str, path: Any, allowed: Allowed) -> None:
        if isinstance(path, int) or path is None:
            return
        real = _real(path)
        if real == os.devnull or real.startswith(self._homes) or _LOCK.fullmatch(real):
            return
        parent = os.path.dirname(real)  # noqa: PTH120 - of a text, and often
        is_temporary = os.path.basename(real).startswith(".vlm-inspect-")  # noqa: PTH119
        for named in map(str, allowed.writes):
            is_beside = is_temporary and parent == os.path.dirname(named)  # noqa: PTH120
            if real == named or real.startswith(named + os.sep) or is_beside:
                return
        allowed.faults.append(f"{event} {real!r}, which no command names"[:300])


def limit_memory() -> None:
    """Stop a runaway allocation of this process before the machine's memory ends."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + _ADDRESSES
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))


def _real(path: Any) -> str:
    return os.path.normpath(os.path.join(os.getcwd(), os.fsdecode(path)))  # noqa: PTH109, PTH118 - as it was opened


def most_memory() -> int:
    """The most bytes that this process has held. getrusage's figure is inherited from whoever started it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
