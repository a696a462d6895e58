"""Record what a command does outside its files: writes, reads, processes, connections, CPU time, memory."""

import os
import signal
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

SECONDS = 10
"""Most CPU time of one command."""
MEMORY = 2 * 2**30
"""Most bytes that one command adds to those of the process."""

_LOCKS = os.path.join(tempfile.gettempdir(), "vlm-inspect-")  # noqa: PTH118 - a prefix
"""Files that commands which write to the same folder lock; their folder is made where it is missing."""
_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# audit event → how many of its arguments are paths that change
_CHANGES = {"os.rename": 2, "os.link": 2, "os.symlink": 2} | dict.fromkeys(
    ("os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.chmod", "os.chown", "shutil.rmtree"), 1
)
_PROCESSES = {"subprocess.Popen", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn"}
_CONNECTIONS = {"socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.bind"}


class OutOfTimeError(BaseException):
    """A BaseException, so that the program does not catch it."""


class Audit:
    """The audit hook of this process. Python cannot remove a hook, so it is off outside `record`."""

    def __init__(self):
        self.caches = ()
        """Folders that every command may change."""
        self._faults = None
        sys.addaudithook(self._hook)

    @contextmanager
    def record(self, *, writable=(), forbidden=None):
        """Collect faults; `writable`: folders that may change; `forbidden`: a prefix of unreadable paths."""
        self._writable, self._forbidden = (*map(str, writable),), forbidden
        previous = signal.signal(signal.SIGPROF, self._out_of_time)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets the peak
        memory = _peak_memory()
        self._faults = faults = []
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            yield faults
        except OutOfTimeError:
            faults.append(f"more than {SECONDS} s of CPU time")
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, previous)
            self._faults = None
        if (grown := _peak_memory() - memory) > MEMORY:
            faults.append(f"the peak memory grew by {grown >> 20:,} MiB")

    @staticmethod
    def _out_of_time(_signal, _frame):
        raise OutOfTimeError

    def _hook(self, event, arguments):
        if self._faults is None:
            return
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & _WRITE_FLAGS:
                self._changed(event, path)
            elif self._forbidden and not isinstance(path, int) and _real(path).startswith(self._forbidden):
                self._faults.append(f"read {_real(path)}")
        elif event in _CHANGES:
            for path in arguments[: _CHANGES[event]]:
                self._changed(event, path)
        elif event in _CONNECTIONS:
            self._faults.append(f"{event} {arguments[1:]!r}")
        elif event in _PROCESSES or event == "pickle.find_class":
            self._faults.append(f"{event} {arguments!r}")

    def _changed(self, event, path):
        if isinstance(path, int) or path is None:
            return
        real = _real(path)
        folders = (*map(str, self.caches), *self._writable)
        is_lock = real.startswith(_LOCKS) and real.endswith(".lock")
        if real in {os.devnull, tempfile.gettempdir()} or is_lock:
            return
        if not any(real == each or real.startswith(each + os.sep) for each in folders):
            self._faults.append(f"{event} {real}, which the command line does not name")


def _real(path):
    return os.path.normpath(os.path.join(os.getcwd(), os.fsdecode(path)))  # noqa: PTH109, PTH118 - fast


def _peak_memory():
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024
