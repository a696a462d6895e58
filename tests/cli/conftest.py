"""A folder to work in without a configuration above it, and the answers that are dear to get."""

import pytest

from tests.cli.program import MODULE, NO_HUB, run


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """The working directory: empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def seed_table(tmp_path_factory):
    """`table` on a machine without a network."""
    home = tmp_path_factory.mktemp("home")
    return run("table", cwd=home, HF_ENDPOINT=NO_HUB, HF_HOME=str(home))


@pytest.fixture(scope="session")
def seed_table_elsewhere(tmp_path_factory):
    """The same by a new process, `python -m`, in another place, locale and terminal width, with another hash seed."""
    home = tmp_path_factory.mktemp("elsewhere")
    changed = {"LC_ALL": "C", "COLUMNS": "40", "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "TERM": "dumb"}
    return run("table", "-q", cwd=home, program=MODULE, HF_ENDPOINT=NO_HUB, HF_HOME=str(home), **changed)
