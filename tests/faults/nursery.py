"""Processes that are killed at a chosen step, and many that start at once, for the price of a fork each.

A *nursery* is a Python that has imported the program and has no threads; its children run the real command. A
*step* is the moment before or after a call into the system, counted from the first that may change a file.

    with Nursery() as nursery:
        ended = nursery.run(Task(folder, ("table", "--write", "README.md"), step=17))
"""

import gc
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path

from typer.testing import CliRunner

from tests.faults.readme import FRESH
from vlm_inspect.cli.main import program

ROOT = Path(__file__).parents[2]
_PATIENCE = 60
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.truncate", "os.rmdir", "os.link", "os.symlink"}
_SYSTEM = {"posix", "_io", "io", "fcntl", "time"}


@dataclass(frozen=True)
class Task:
    """What a child does: the program with these words, or a function of the tests with them."""

    folder: str
    words: tuple[str, ...]
    function: str = "vlm_inspect.__main__:main"
    step: int = 0
    """Killed at this step; 0: not at all."""


@dataclass(frozen=True)
class Ended:
    """How a child ended: its exit code, negative for a signal, and its output."""

    code: int
    said: str

    @property
    def was_killed(self):
        return self.code == -signal.SIGKILL


class Nursery:
    """The parent's side."""

    def __enter__(self):
        command = [sys.executable, "-m", "tests.faults.nursery"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = subprocess.Popen(command, cwd=ROOT, text=True, **pipes)
        return self

    def __exit__(self, *_):
        self._process.communicate(timeout=_PATIENCE)

    def run(self, task):
        return self.run_at_once([task])[0]

    def run_at_once(self, tasks):
        self._process.stdin.write(json.dumps([asdict(task) for task in tasks]) + "\n")
        self._process.stdin.flush()
        return [Ended(*ended) for ended in json.loads(self._process.stdout.readline())]


# --- the nursery's own process


def serve():
    """Start children for each line of standard input, until it is closed."""
    _warm_up()
    for line in sys.stdin:
        children = [_start(Task(**task)) for task in json.loads(line)]
        sys.stdout.write(json.dumps([_end(*child) for child in children]) + "\n")
        sys.stdout.flush()


def _warm_up():
    """Import all that the commands import."""
    snapshot = str(next((ROOT / "snapshots").glob("*llava-1.5*.json")))
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("README.md").write_text(FRESH)
        Path("vlm-inspect.toml").write_text(f"[[models]]\nid = {json.dumps(snapshot)}\n")
        for words in ("table --write README.md", "snapshot", "check --update", "show --no-such-option"):
            CliRunner().invoke(program(), words.split())
        os.chdir(ROOT)
    for module in ("huggingface_hub.utils", "vlm_inspect.sources.hub", "vlm_inspect.sources.hub_headers"):
        import_module(module)
    gc.collect()
    gc.freeze()  # pages that are not written need not be copied


def _start(task):
    hear, say = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(hear)
        _live(task, say)
    os.close(say)
    return pid, hear


def _end(pid, hear):
    said = b""
    while True:
        if not select.select([hear], [], [], _PATIENCE)[0]:
            os.kill(pid, signal.SIGKILL)
        data = os.read(hear, 65536)
        if not data:
            break
        said += data
    os.close(hear)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said.decode()


def _live(task, say):
    os.chdir(task.folder)
    os.dup2(say, 1)
    os.dup2(say, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - as long as the process
    module, _, function = task.function.partition(":")
    sys.argv = ["vlm-inspect", *task.words]
    if task.step:
        sys.addaudithook(_Steps(task.step).watch)
    try:
        import_module(module).__dict__[function](*([] if module.startswith("vlm_inspect") else task.words))
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException as error:  # noqa: BLE001 - the test reads it, and expects none
        os.write(2, f"{type(error).__name__}: {error}".encode())
        code = 99
    os._exit(code)


class _Steps:
    """Counts the calls into the system, and kills the process at one of them."""

    def __init__(self, last):
        self._left = last
        self._begun = False

    def watch(self, event, arguments):
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES
        if not self._begun and (writes or event in _CHANGES):
            self._begun = True
            sys.setprofile(self._step)  # of this thread, which is the one that writes

    def _step(self, _frame, event, function):
        if event not in {"c_call", "c_return"}:
            return
        owner = getattr(function, "__self__", None)
        is_module = type(owner).__name__ == "module"
        if (owner.__name__ if is_module else type(owner).__module__) in _SYSTEM:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    serve()
