"""Killed at any moment: every file is the old one or the new one, and the next run works."""

import shutil
import subprocess
from itertools import count
from pathlib import Path

import pytest

from tests.cli.program import SCRIPT, environment, run
from tests.faults import forks
from tests.faults.forks import ROOT, Task
from tests.faults.readme import wait_until
from vlm_inspect.storage.cache import read_cached, write_cached

OTHER = ROOT / "snapshots" / "llava-hf--llava-v1.6-mistral-7b-hf.json"
OLD, NEW = b"old" * 1000, b"entry of a cache" * 10_000


def contents(folder):
    """The files below a folder except temporary ones."""
    files = [path for path in folder.rglob("*") if path.is_file() and path not in temporary(folder)]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def temporary(folder):
    return list(folder.rglob(".vlm-inspect-*"))


@pytest.mark.parametrize("words", ["table --write README.md", "snapshot", "check --update -q"])
def test_each_file_is_the_old_or_the_new_one_after_a_kill_at_any_step(project, words):
    task = Task(str(project), tuple(words.split()))
    assert forks.run(Task(str(project), ("snapshot",))).code == 0
    (snapshot,) = (project / "snapshots").iterdir()
    shutil.copy(OTHER, snapshot)
    old = contents(project)
    assert forks.run(task).code == 0
    new = contents(project)
    assert old != new
    for step in count(1, 3):
        for name, content in old.items():
            (project / name).write_bytes(content)
        ended = forks.run(Task(task.folder, task.words, step=step))
        now = contents(project)
        assert now.keys() == old.keys()
        assert all(content in {old[name], new[name]} for name, content in now.items())
        if not ended.was_killed:
            break
    assert (ended.code, now) == (0, new)
    assert step > 20  # opening, writing, flushing and renaming take no fewer


def test_a_cache_entry_is_the_old_or_the_new_one_after_a_kill_at_any_step(tmp_path):
    entry = tmp_path / "entry"
    for step in count(1):
        write_cached(entry, OLD)
        ended = forks.run(Task(str(tmp_path), (str(entry),), f"{__name__}:write_new", step=step))
        assert read_cached(entry, 10**6) in {OLD, NEW}
        if not ended.was_killed:
            break
    assert (ended.code, read_cached(entry, 10**6)) == (0, NEW)
    assert step > 10


def write_new(path):
    write_cached(Path(path), NEW)


def test_a_run_after_a_kill_while_writing_works(project):
    """Killed as soon as the temporary file exists."""
    old = contents(project)
    command = [*SCRIPT, "table", "--write", "README.md"]
    with subprocess.Popen(command, cwd=project, env=environment(), stderr=subprocess.PIPE) as process:
        wait_until(lambda: temporary(project) or process.poll() is not None)
        process.kill()
    after_kill = contents(project)
    assert run(*command[1:], cwd=project).code == 0
    assert after_kill in (old, contents(project))
