"""Where the measured processes run: the same environment and an empty folder, whoever measures."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "tools"
PYTHON = sys.executable
OURS = (str(Path(PYTHON).with_name("vlm-inspect")),)
"""The installed command, as users start it."""
_OF_THE_USER = ("HF_", "HUGGING", "VLM_INSPECT", "XDG_")
_DROPPED = {"PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}


@dataclass(frozen=True)
class Place:
    """A folder for a benchmark's files, and what its processes see of the machine."""

    folder: Path

    @cached_property
    def environment(self) -> dict[str, str]:
        """Nothing of the user's: byte code, caches and home below the folder; no network, no colour."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in _DROPPED and not name.startswith(_OF_THE_USER)
        }
        return kept | {
            "HF_HOME": str(self.folder / "home"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_OFFLINE": "1",
            "NO_COLOR": "1",
            "NO_PROXY": "127.0.0.1,localhost",
            "PYTHONPYCACHEPREFIX": str(self.folder.parent / "bytecode"),
        }

    @cached_property
    def empty(self) -> Path:
        """The folder that the processes start in: without a configuration, and below none."""
        folder = self.folder / "empty"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def prepare(self, command: Sequence[str], **environment: str) -> None:
        """Run in a process of its own, so that what it loads is nobody's measured memory."""
        self.said(command, environment, check=True)

    def lines(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> int:
        """The lines that a command prints, wherever it prints them."""
        done = self.said(command, environment or {})
        return len(done.stdout.splitlines()) + len(done.stderr.splitlines())

    def said(
        self, command: Sequence[str], environment: Mapping[str, str], *, check: bool = False
    ) -> subprocess.CompletedProcess[bytes]:
        """What a command says in the environment of the measured ones."""
        return subprocess.run(
            command, cwd=self.empty, env=self.environment | environment, capture_output=True, check=check
        )

    def configs(self, which: str) -> list[str]:
        """Folders with a config.json each; the kinds are those of write_configs.py."""
        folder = self.folder / which
        self.prepare([PYTHON, str(TOOLS / "write_configs.py"), which, str(folder)])
        return [str(path.parent) for path in sorted(folder.glob("*/config.json"))]
