"""Processes that are killed at a chosen step, and many processes at once, each a fork of a server.

The server has imported the program (tests/faults/warm.py). A *step* is the moment before or after a system
call, counted from the first one that may change a file.
"""

import os
import signal
import sys
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]
_TIMEOUT_SECONDS = 60
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.truncate", "os.rmdir", "os.link", "os.symlink"}
_SYSTEM = {"posix", "_io", "io", "fcntl", "time"}
_FORKS = get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.faults.warm"])


@dataclass(frozen=True)
class Task:
    """The program or a function of the tests, with arguments."""

    folder: str
    words: tuple[str, ...]
    function: str = "vlm_inspect.__main__:main"
    step: int = 0
    """Kill it at this step; 0: never."""


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code, negative for a signal, and its output."""

    code: int
    output: str

    @property
    def was_killed(self):
        return self.code == -signal.SIGKILL


def run(task):
    return run_at_once([task])[0]


def run_at_once(tasks):
    with TemporaryDirectory() as logs:
        files = [Path(logs, str(index)) for index in range(len(tasks))]
        processes = [_FORKS.Process(target=_run_task, args=each) for each in zip(tasks, map(str, files), strict=True)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(_TIMEOUT_SECONDS)
            process.kill()
            process.join()
        codes = [process.exitcode for process in processes]
        return [Ended(code, file.read_text()) for code, file in zip(codes, files, strict=True)]


def _run_task(task, log):
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - open until the process ends
    sys.stderr = open(2, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
    os.chdir(task.folder)
    module, _, function = task.function.partition(":")
    sys.argv = ["vlm-inspect", *task.words]
    function = import_module(module).__dict__[function]
    if task.step:
        sys.addaudithook(_Steps(task.step).watch)
    try:
        function(*([] if module.startswith("vlm_inspect") else task.words))
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException as error:  # noqa: BLE001 - the test prints it
        os.write(2, f"{type(error).__name__}: {error}".encode())
        code = 99
    sys.stdout.flush()
    os._exit(code)


class _Steps:
    """Counts system calls, and kills the process at one of them."""

    def __init__(self, last):
        self._left = last
        self._begun = False

    def watch(self, event, arguments):
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES
        if not self._begun and (writes or event in _CHANGES):
            self._begun = True
            sys.setprofile(self._step)  # this thread writes the files

    def _step(self, _frame, event, function):
        if event not in {"c_call", "c_return"}:
            return
        owner = getattr(function, "__self__", None)
        is_module = type(owner).__name__ == "module"
        if (owner.__name__ if is_module else type(owner).__module__) in _SYSTEM:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
