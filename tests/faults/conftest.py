"""The project of these tests."""

import shutil

import pytest

from tests.faults.forks import ROOT
from tests.faults.readme import FRESH

LLAVA = ROOT / "snapshots" / "llava-hf--llava-1.5-7b-hf.json"


@pytest.fixture
def project(tmp_path):
    """A configured model that needs no torch, and a README with an empty block."""
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copy(LLAVA, folder / "llava.json")
    (folder / "vlm-inspect.toml").write_text('[[models]]\nid = "./llava.json"\n')
    (folder / "README.md").write_text(FRESH)
    return folder
