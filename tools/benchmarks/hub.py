"""A Hub on the loopback interface for the measured processes; its own time is neither side's."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.hub_server import HubServer
from tools.benchmarks.place import PYTHON, ROOT, Place

_LLAVA_IN_SHARDS = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests import checkpoints
llava = {"model_type": "llava", "architectures": ["LlavaForConditionalGeneration"]}
checkpoints.save(Path(sys.argv[2]), llava, shards=3)
"""


@dataclass(frozen=True)
class LoopbackHub:
    """A running Hub."""

    url: str

    def environment(self, home: str) -> Mapping[str, str]:
        """What sends a process to it, with the Hub's cache below `home`."""
        return {"HF_ENDPOINT": self.url, "HF_HOME": home, "HF_HUB_OFFLINE": "0"}


def hub_of(models: Mapping[str, str], *, seconds_per_request: float = 0.0) -> LoopbackHub:
    """A Hub with these models, each the files of a folder. It serves as long as this process lives."""
    server = HubServer()
    for name, folder in models.items():
        server.add_model(name, {path.name: path for path in Path(folder).iterdir()})
    if seconds_per_request:
        server.fault("", delay=seconds_per_request)
    return LoopbackHub(server.url)


def fresh_home(place: Place) -> str:
    """A folder for caches in which there is nothing."""
    home = place.folder / "fresh"
    shutil.rmtree(home, ignore_errors=True)
    return str(home)


def checkpoint(place: Place) -> Path:
    """A folder with the configuration and the tensors of LLaVA-1.5-7B, in three sparse files."""
    folder = place.folder / "llava"
    place.prepare([PYTHON, "-c", _LLAVA_IN_SHARDS, str(ROOT), str(folder)])
    return folder
