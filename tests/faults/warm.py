"""Imported by the server of these tests' processes: imports all that the commands import."""

import gc
import json
import os
import tempfile
from importlib import import_module
from pathlib import Path

from typer.testing import CliRunner

from tests.faults.nursery import ROOT
from tests.faults.readme import FRESH
from vlm_inspect.cli.main import program

with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    Path("README.md").write_text(FRESH)
    snapshot = str(next((ROOT / "snapshots").glob("*llava-1.5*.json")))
    Path("vlm-inspect.toml").write_text(f"[[models]]\nid = {json.dumps(snapshot)}\n")
    for words in ("table --write README.md", "snapshot", "check --update", "show --no-such-option"):
        CliRunner().invoke(program(), words.split())
    os.chdir(ROOT)
for module in ("huggingface_hub.utils", "vlm_inspect.sources.hub", "vlm_inspect.sources.headers"):
    import_module(module)
gc.collect()
gc.freeze()  # pages that are not written need not be copied
