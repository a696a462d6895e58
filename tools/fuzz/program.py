"""The program in this process: the commands of the console script, their exit codes and their streams."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.fuzz.case import Command

SCRIPT = Path(sysconfig.get_path("scripts")) / "vlm-inspect"
CODES = (0, 1, 2, 3)
"""What the program may end with, but for an interruption."""
_OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "PYTHONDONTWRITEBYTECODE": "1"}
_UNSET = ("NO_COLOR", "FORCE_COLOR", "TERM", "GITHUB_WORKSPACE", "HF_TOKEN", "HF_ENDPOINT")


@dataclass(frozen=True, slots=True)
class Said:
    """What one command said."""

    code: int
    out: str
    err: str


class Screen(io.TextIOWrapper):
    """A stream in memory, which may look like a terminal."""

    def __init__(self, *, terminal: bool = False, errors: str = "strict") -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", errors=errors, write_through=True)
        self._terminal = terminal

    def isatty(self) -> bool:
        """As it was told."""
        return self._terminal

    @property
    def said(self) -> str:
        """All that was written, which must be UTF-8."""
        self.flush()
        return self.buffer.getvalue().decode("utf-8")  # type: ignore[attr-defined]


class Program:
    """The commands, built once."""

    def __init__(self) -> None:
        import typer.main

        from vlm_inspect.cli.main import program

        self._command = typer.main.get_command(program())

    def run(self, command: Command, *, terminal: bool = False) -> Said:
        """One command, as the console script runs it, with the traceback of a bug."""
        out, err = Screen(terminal=terminal), Screen(errors="backslashreplace")  # as Python opens them
        with _streams(out, err):
            try:
                self._command.main([*command, "--debug"], prog_name="vlm-inspect")
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
        return Said(code, out.said, err.said)


def run_script(command: Command, folder: Path, home: Path) -> Said:
    """One command by the installed console script. Raises subprocess.TimeoutExpired."""
    done = subprocess.run(
        [SCRIPT, *command], cwd=folder, env=environment(home), capture_output=True, check=False, timeout=120
    )
    return Said(done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8"))


def environment(home: Path) -> dict[str, str]:
    """An environment in which nothing can be fetched, and a home that is empty."""
    kept = {name: value for name, value in os.environ.items() if name not in _UNSET}
    homes = {"HF_HOME": str(home / "hf"), "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    return {**kept, **_OFFLINE, **homes}


@contextmanager
def _streams(out: Screen, err: Screen) -> Iterator[None]:
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = out, err
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
