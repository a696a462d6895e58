"""The folder and the environment of the measured processes, independent of the user's own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tests.hub_server import HubServer

ROOT = Path(__file__).resolve().parents[2]
PYTHON = sys.executable
_USER_PREFIXES = ("HF_", "HUGGING", "VLM_INSPECT", "XDG_")
_DROPPED = {"PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}
Command = Sequence[str]


@dataclass(frozen=True)
class Workspace:
    """A folder for the files of one benchmark."""

    folder: Path

    @cached_property
    def environment(self) -> dict[str, str]:
        """Home, caches and byte code below the folder; no network, no colour."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name not in _DROPPED and not name.startswith(_USER_PREFIXES)
        }
        return inherited | {
            "HF_HOME": str(self.folder / "home"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_OFFLINE": "1",
            "NO_COLOR": "1",
            "NO_PROXY": "127.0.0.1,localhost",
            "PYTHONPYCACHEPREFIX": str(self.folder.parent / "bytecode"),
        }

    @cached_property
    def empty(self) -> Path:
        """The working directory of the processes, without a configuration file in or above it."""
        folder = self.folder / "empty"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def run(self, command: Command, *, check: bool = True, **environment: str) -> bytes:
        """Run a command that is not measured; returns its standard output and error."""
        done = subprocess.run(
            command,
            cwd=self.empty,
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=check,
        )
        return done.stdout

    def models(self, kind: str) -> list[str]:
        """Write the model folders of a kind in tools/bench/models.py; returns their paths."""
        folder = self.folder / kind
        # in another process, because a child is as large as its parent until it starts
        self.run([PYTHON, "-m", "tools.bench.models", kind, str(folder)], PYTHONPATH=str(ROOT))
        return [str(path.parent) for path in sorted(folder.glob("*/config.json"))]

    def empty_cache(self) -> str:
        """A path for the Hub's cache, where nothing exists."""
        home = self.folder / "empty-cache"
        shutil.rmtree(home, ignore_errors=True)
        return str(home)


def serve_hub(models: Mapping[str, str], *, seconds_per_request: float = 0.0) -> str:
    """Serve model folders as a Hub on the loopback interface until this process ends; returns its URL."""
    server = HubServer()
    for name, folder in models.items():
        server.add_model(name, {path.name: path for path in Path(folder).iterdir()})
    if seconds_per_request:
        server.fault("", delay=seconds_per_request)
    return server.url


def hub_environment(url: str, home: str) -> dict[str, str]:
    """Environment variables that select a Hub, with its cache below `home`."""
    return {"HF_ENDPOINT": url, "HF_HOME": home, "HF_HUB_OFFLINE": "0"}
