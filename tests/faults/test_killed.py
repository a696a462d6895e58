"""Killed at any moment: every file is the old one or the new one, and the next run works."""

import shutil
import subprocess
from itertools import count
from pathlib import Path

import pytest

from tests.cli.program import SCRIPT, environment, run
from tests.faults import nursery
from tests.faults.nursery import ROOT, Task
from tests.faults.readme import wait_until
from vlm_inspect.storage.cache import read_cached, write_cached

OTHER = ROOT / "snapshots" / "llava-hf--llava-v1.6-mistral-7b-hf.json"
OLD, NEW = b"old" * 1000, b"entry of a cache" * 10_000


def contents(folder):
    """Every file below a folder, but for the temporary ones."""
    files = [path for path in folder.rglob("*") if path.is_file() and path not in temporary(folder)]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def temporary(folder):
    return list(folder.rglob(".vlm-inspect-*"))


@pytest.mark.parametrize("words", ["table --write README.md", "snapshot", "check --update -q"])
def test_killed_at_every_third_step_each_file_is_the_old_one_or_the_new_one(project, words):
    task = Task(str(project), tuple(words.split()))
    assert nursery.run(Task(str(project), ("snapshot",))).code == 0
    (snapshot,) = (project / "snapshots").iterdir()
    shutil.copy(OTHER, snapshot)
    old = contents(project)
    assert nursery.run(task).code == 0
    new = contents(project)
    assert old != new
    for step in count(1, 3):
        for name, content in old.items():
            (project / name).write_bytes(content)
        ended = nursery.run(Task(task.folder, task.words, step=step))
        now = contents(project)
        assert now.keys() == old.keys()
        assert all(content in {old[name], new[name]} for name, content in now.items())
        if not ended.was_killed:
            break
    assert (ended.code, now) == (0, new)
    assert step > 20  # a file is opened, written, flushed and renamed in no fewer


def test_killed_at_every_step_a_cache_entry_is_the_old_one_the_new_one_or_none(tmp_path):
    entry = tmp_path / "entry"
    for step in count(1):
        write_cached(entry, OLD)
        ended = nursery.run(Task(str(tmp_path), (str(entry),), f"{__name__}:write_new", step=step))
        assert read_cached(entry, 10**6) in {OLD, NEW}
        if not ended.was_killed:
            break
    assert (ended.code, read_cached(entry, 10**6)) == (0, NEW)
    assert step > 10


def write_new(path):
    write_cached(Path(path), NEW)


def test_the_installed_program_is_killed_while_it_writes_and_run_again(project):
    """Killed as soon as the new file shows beside the old one."""
    old = contents(project)
    command = [*SCRIPT, "table", "--write", "README.md"]
    with subprocess.Popen(command, cwd=project, env=environment(), stderr=subprocess.PIPE) as process:
        wait_until(lambda: temporary(project) or process.poll() is not None)
        process.kill()
    between = contents(project)
    assert run(*command[1:], cwd=project).code == 0
    assert between in (old, contents(project))
