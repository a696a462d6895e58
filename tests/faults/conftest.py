"""The project of these tests."""

import shutil

import pytest

from tests.faults.nursery import ROOT
from tests.faults.readme import FRESH

LLAVA = ROOT / "snapshots" / "llava-hf--llava-1.5-7b-hf.json"


@pytest.fixture
def project(tmp_path):
    """A configured model that is inspected without torch, and a README that waits for its table."""
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copy(LLAVA, folder / "llava.json")
    (folder / "vlm-inspect.toml").write_text('[[models]]\nid = "./llava.json"\n')
    (folder / "README.md").write_text(FRESH)
    return folder
