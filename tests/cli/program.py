"""The installed program as its users run it: in a process of its own, or in this one where that is enough."""

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from typer.testing import CliRunner

from tests.hub_server import closed_port
from tests.warm import MODEL_LIBRARIES, PATIENCE, ROOT, WarmProcess
from vlm_inspect.cli.main import program

SCRIPT = (str(Path(sysconfig.get_path("scripts")) / "vlm-inspect"),)
MODULE = (sys.executable, "-m", "vlm_inspect")
MAIN = "vlm_inspect.__main__:main"
NO_HUB = f"http://127.0.0.1:{closed_port()}"

# what a user's shell may have set, and a test must set itself where it matters; the last is set by torch in
# this process, and a run with it would not start from the process that has imported the model classes
_UNSET = (
    *("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TERM", "PYTHONIOENCODING", "LC_ALL", "LANG"),
    "TORCHINDUCTOR_CACHE_DIR",
)

LLAVA = {"model_type": "llava", "architectures": ["LlavaForConditionalGeneration"]}


@dataclass(frozen=True)
class Answer:
    """What a run of the program left behind."""

    code: int
    stdout: str
    stderr: str

    @property
    def data(self):
        """What JSON on stdout says."""
        return json.loads(self.stdout)


def environment(**changes):
    """The test process's environment, which leads to the loopback Hub, with changes; None unsets."""
    kept = {name: value for name, value in os.environ.items() if name not in _UNSET}
    return {name: value for name, value in (kept | changes).items() if value is not None}


_AT_IMPORT = environment()


@cache
def _warm():
    """The warm process of this session, or of this worker of it."""
    return WarmProcess((), _AT_IMPORT)


@cache
def _warm_for_models():
    """A fork of it that has imported what builds models, in the environment of this session."""
    return _warm().fork(MODEL_LIBRARIES)


def warm_in(environment):
    """The warm process whose forks may have this environment; None where only a new process shows it."""
    if sys.platform != "linux" or not _warm().can_stand_in(environment):
        return None
    return _warm_for_models() if _warm().is_session(environment) else _warm()


def _script(main):
    """The command of a new process that calls `main`."""
    if main == MAIN:
        return SCRIPT
    module, _, function = main.partition(":")
    start = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from {module} import {function}; {function}()"
    return (sys.executable, "-c", start)


def run(*arguments, cwd, program=None, main=MAIN, check=True, **env):
    """Run the program in a process of its own; its output is read as UTF-8.

    The process is the fork of a warm one, and calls `main`. Where start-up itself is under test, name the `program`
    to execute.
    """
    changed = environment(**env)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a device
            streams = {"stdin": nothing, "stdout": out, "stderr": err}
            warm = None if program else warm_in(changed)
            if warm:
                start = warm.start(main, arguments, cwd=cwd, environment=changed, **streams)
            else:
                command = [*(program or _script(main)), *map(str, arguments)]
                start = subprocess.Popen(command, cwd=cwd, env=changed, **streams)
            try:
                code = start.wait(PATIENCE)
            finally:
                start.kill()
        out.seek(0)
        err.seek(0)
        answer = Answer(code, out.read().decode(), err.read().decode())
    if check:
        assert "Traceback" not in answer.stderr
    return answer


def call(*arguments):
    """Run the program in this process, which has imported torch already."""
    done = CliRunner().invoke(program(), [str(argument) for argument in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return Answer(done.exit_code, done.stdout_bytes.decode(), done.stderr_bytes.decode())


def save(folder, name, config=LLAVA):
    """A model's folder with its config.json."""
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    content = config if isinstance(config, str) else json.dumps(config)
    (place / "config.json").write_text(content, encoding="utf-8")
    return place


def cells(markdown):
    """The rows of the first Markdown table, headers first."""
    lines = [line for line in markdown.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in (lines[0], *lines[2:])]
