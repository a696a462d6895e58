"""The installed program as its users run it: in a process of its own, or in this one where that is enough."""

import json
import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from tests.hub_server import closed_port
from vlm_inspect.cli.main import program

SCRIPT = (str(Path(sysconfig.get_path("scripts")) / "vlm-inspect"),)
MODULE = (sys.executable, "-m", "vlm_inspect")
NO_HUB = f"http://127.0.0.1:{closed_port()}"

# what a user's shell may have set, and a test must set itself where it matters
_UNSET = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TERM", "PYTHONIOENCODING", "LC_ALL", "LANG")

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


def run(*arguments, cwd, program=SCRIPT, check=True, **env):
    """Run the program in a process of its own; its streams are bytes on a pipe, read as UTF-8."""
    done = subprocess.run(
        [*program, *map(str, arguments)], cwd=cwd, env=environment(**env), capture_output=True, check=False
    )
    answer = Answer(done.returncode, done.stdout.decode(), done.stderr.decode())
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
