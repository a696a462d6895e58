"""Processes that are killed at a chosen moment, and many that start at once, for the price of a fork each.

A *nursery* is a Python that has imported the program and has no threads; its children do the real work of
the real command. A moment is a *step* (before and after every call of Python's into the system, counted from
the first that may change a file) or a number of seconds after the first step.

    with Nursery() as nursery:
        ended = nursery.run(Task(folder, ("table", "--write", "README.md"), step=17))
"""

import gc
import json
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
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
    within: str = ""
    """Steps are counted from the first change of a file whose path holds this."""
    step: int = 0
    """Killed at this step; not at all by 0."""
    seconds: float | None = None
    """Killed so long after the first step."""
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ended:
    """How a child ended."""

    code: int
    """As of subprocess: negative is a signal."""
    said: str
    seconds: float
    """From the first step to the end."""

    @property
    def was_killed(self):
        """Whether it did not come to its own end."""
        return self.code == -signal.SIGKILL


class Nursery:
    """The parent's side."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.nursery"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait(_PATIENCE)
        self._process.stdout.close()

    def run(self, task):
        """One child, from start to end."""
        return self.run_at_once([task])[0]

    def run_at_once(self, tasks):
        """All of them at the same time."""
        self._process.stdin.write(json.dumps([asdict(task) for task in tasks]) + "\n")
        self._process.stdin.flush()
        return [Ended(**ended) for ended in json.loads(self._process.stdout.readline())]


def moments(span, count, seed=7):
    """Seconds after the first step: spread over the span of a write and somewhat beyond, and shaken."""
    chance = random.Random(seed)  # noqa: S311 - moments, not secrets
    return [span * 1.1 * (index + chance.random()) / count for index in range(count)]


# --- the nursery's own process


def serve():
    """Start children as asked on standard input, until it is closed."""
    _warm_up()
    for line in sys.stdin:
        tasks = [Task(**{**task, "words": tuple(task["words"])}) for task in json.loads(line)]
        children = [_Child(task) for task in tasks]
        sys.stdout.write(json.dumps([child.end() for child in children]) + "\n")
        sys.stdout.flush()


def _warm_up():
    """Import all that the commands do: a child is to do what is of interest and little else."""
    snapshot = str(next((ROOT / "snapshots").glob("*llava-1.5*.json")))
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("README.md").write_text(FRESH)
        Path("vlm-inspect.toml").write_text(f"[[models]]\nid = {json.dumps(snapshot)}\n")
        for words in ("table --write README.md", "snapshot", "check --update", "show --no-such-option"):
            CliRunner().invoke(program(), words.split())
        os.chdir(here)
    for module in ("huggingface_hub.utils", "vlm_inspect.sources.hub", "vlm_inspect.sources.headers"):
        import_module(module)
    gc.collect()
    gc.freeze()  # what a child need not look at, it need not copy


class _Child:
    """A forked child, held until it is told to go, so that many start at once."""

    def __init__(self, task):
        self._task = task
        hear, say = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(hear)
            _live(task, say)
        os.close(say)
        self._hear = hear

    def end(self):
        """Kill it where that is asked for; then how it ended."""
        said, begun = b"", None
        give_up = time.monotonic() + _PATIENCE
        while True:
            ready, _, _ = select.select([self._hear], [], [], max(give_up - time.monotonic(), 0))
            data = os.read(self._hear, 65536) if ready else b""
            if not ready:
                os.kill(self._pid, signal.SIGKILL)
            if not data:
                break
            if begun is None and b"\0" in said + data:
                begun = time.perf_counter()
                self._kill_later(begun)
            said += data
        seconds = time.perf_counter() - begun if begun else 0.0
        os.close(self._hear)
        _, status = os.waitpid(self._pid, 0)
        words = said.replace(b"\0", b"", 1).decode()
        return {"code": os.waitstatus_to_exitcode(status), "said": words, "seconds": seconds}

    def _kill_later(self, begun):
        if self._task.seconds is not None:
            while time.perf_counter() - begun < self._task.seconds:  # a sleep is longer than many a write
                if os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                    return
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)


def _live(task, say):
    """The child's whole life. All that it says goes to the nursery, with a mark at the first step."""
    os.environ |= task.environment
    os.chdir(task.folder)
    os.dup2(say, 1)
    os.dup2(say, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - as long as the process
    module, _, function = task.function.partition(":")
    sys.argv = ["vlm-inspect", *task.words]
    _Steps(task, say).count()
    try:
        import_module(module).__dict__[function](*([] if module.startswith("vlm_inspect") else task.words))
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException as error:  # noqa: BLE001 - told to the test, which expects none
        os.write(2, f"{type(error).__name__}: {error}".encode())
        code = 99
    os._exit(code)


class _Steps:
    """Counts the calls into the system, and kills the process at the one that it is told."""

    def __init__(self, task, say):
        self._task = task
        self._say = say
        self._begun = False
        self._number = 0

    def count(self):
        """From here on."""
        sys.addaudithook(self._watch)

    def _watch(self, event, arguments):
        if self._begun:
            return
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES
        if (writes or event in _CHANGES) and self._task.within in str(arguments[0]):
            self._begun = True
            os.write(self._say, b"\0")
            if self._task.step:
                sys.setprofile(self._step)  # of this thread, which is the one that writes

    def _step(self, _frame, event, function):
        if event not in {"c_call", "c_return"} or not _is_of_the_system(function):
            return
        self._number += 1
        if self._number == self._task.step:
            os.kill(os.getpid(), signal.SIGKILL)


def _is_of_the_system(function):
    owner = getattr(function, "__self__", None)
    module = getattr(owner, "__name__", None) if type(owner).__name__ == "module" else type(owner).__module__
    return module in _SYSTEM


if __name__ == "__main__":
    serve()
