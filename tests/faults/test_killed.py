"""Killed at any moment: every file is the old one or the new one, and the next run works and tidies up."""

import os
import shutil
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest

from tests import sparse
from tests.cli.program import LLAVA as LLAVA_CONFIG
from tests.cli.program import SCRIPT, environment, run
from tests.faults.nursery import ROOT, Nursery, Task, moments
from tests.faults.readme import FRESH, wait_until
from vlm_inspect.atomic_files import replace_file, take_leftovers_away
from vlm_inspect.kept_files import keep, read_kept

LLAVA, IDEFICS = "llava-hf--llava-1.5-7b-hf", "HuggingFaceM4--idefics2-8b~f2f30f0c5e"
OTHER = "llava-hf--llava-v1.6-mistral-7b-hf"
WRITTEN = {1: "README.md", 2: "docs.md"}
NAME = "org/name"
CONFIGURATION = '[[models]]\nid = "./llava.json"\n[[models]]\nid = "./idefics.json"\n'


@pytest.fixture(scope="module")
def nursery():
    with Nursery() as nursery:
        yield nursery


@pytest.fixture
def project(tmp_path):
    """Two models that are answered without torch, two files with blocks, and somebody's own file."""
    for stored, name in ((LLAVA, "llava.json"), (IDEFICS, "idefics.json")):
        shutil.copy(ROOT / "snapshots" / f"{stored}.json", tmp_path / name)
    (tmp_path / "vlm-inspect.toml").write_text(CONFIGURATION)
    (tmp_path / "README.md").write_text(FRESH)
    (tmp_path / "docs.md").write_text(FRESH.replace("Title", "Documentation"))
    (tmp_path / "notes.txt").write_text("somebody's own")
    return tmp_path


def contents(folder):
    """Every file below a folder, but for what a killed process may leave."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not is_litter(path)
    }


def is_litter(path):
    return path.name.startswith(".vlm-inspect-")


def litter(folder):
    return [path for path in folder.rglob("*") if is_litter(path)]


def restore(folder, files):
    """The files as they were; what was left beside them stays, as it would."""
    for name in contents(folder):
        if name not in files:
            (folder / name).unlink()
    for name, content in files.items():
        if not (folder / name).exists() or (folder / name).read_bytes() != content:
            (folder / name).write_bytes(content)


class Write:
    """A command that changes files of a folder, and what they are before and after it."""

    def __init__(self, nursery, folder, words):
        self.nursery, self.folder, self.words = nursery, folder, tuple(words.split())
        self.old = contents(folder)
        self.ended = nursery.run(Task(str(folder), self.words))
        assert self.ended.code == 0, self.ended.said
        self.new = contents(folder)
        self.seconds = min(self._timed() for _ in range(3))
        assert self.new != self.old

    def _timed(self):
        restore(self.folder, self.old)
        return self.nursery.run(Task(str(self.folder), self.words)).seconds

    def killed(self, **moment):
        """The command, killed in a folder as the last one left it: whether the kill came in time."""
        restore(self.folder, self.old)
        ended = self.nursery.run(Task(str(self.folder), self.words, **moment))
        self.check()
        assert ended.was_killed or (ended.code, ended.said) == (0, self.ended.said)
        return ended.was_killed

    def check(self):
        """Each file is what it was or what it is to be, there is no other, and no heap of leftovers."""
        now = contents(self.folder)
        assert now.keys() >= self.old.keys()
        for name, content in now.items():
            assert content in {self.old.get(name), self.new.get(name)}, name
        assert len(litter(self.folder)) <= 1

    def check_next_run(self):
        """What is asked for again is done, and nothing is left of those that were killed."""
        assert self.nursery.run(Task(str(self.folder), self.words)).code == 0
        assert contents(self.folder) == self.new
        assert litter(self.folder) == []


WRITES = ["table", "first snapshot", "snapshot", "check"]


def prepared(nursery, project, kind, models):
    """One of the commands that write, with something to write for it."""
    listed = CONFIGURATION.splitlines(keepends=True)[: 2 * models]
    (project / "vlm-inspect.toml").write_text("".join(listed))
    if kind == "table":
        return Write(nursery, project, f"table --write README.md --write {WRITTEN[models]}")
    if kind != "first snapshot":
        assert nursery.run(Task(str(project), ("snapshot",))).code == 0
        for path in (project / "snapshots").iterdir():  # another model's: stale, and whole
            path.write_bytes((ROOT / "snapshots" / f"{OTHER}.json").read_bytes())
    return Write(nursery, project, "check --update -q" if kind == "check" else "snapshot")


@pytest.mark.parametrize("kind", WRITES)
def test_killed_at_every_step_of_a_write(nursery, project, kind):
    write = prepared(nursery, project, kind, models=1)
    killed = 0
    while write.killed(step=killed + 1):
        killed += 1
        if killed % 20 == 0:
            write.check_next_run()
    assert killed > 30  # a file is made, written, flushed and renamed in no fewer
    write.check_next_run()


@pytest.mark.parametrize("kind", WRITES)
def test_killed_at_random_moments_of_a_write(nursery, project, kind):
    write = prepared(nursery, project, kind, models=2)
    killed = sum(write.killed(seconds=moment) for moment in moments(write.seconds, 50))
    assert killed > 10  # or the kills came when all was over
    write.check_next_run()


def test_killed_at_every_step_an_entry_of_a_cache_is_the_old_one_the_new_one_or_none(nursery, tmp_path):
    entry = tmp_path / "entry"
    old = b"old" * 1000
    for step in count(1):
        keep(entry, old)
        task = Task(str(tmp_path), (str(entry), "entry of a cache"), f"{__name__}:keep_other", step=step)
        ended = nursery.run(task)
        kept = read_kept(entry, 10**6)
        assert kept in {old, other("entry of a cache")}
        assert len(litter(tmp_path)) <= 1
        if not ended.was_killed:
            break
    assert (ended.code, ended.said, kept) == (0, "", other("entry of a cache"))
    assert step > 10
    take_leftovers_away.__wrapped__(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["entry"]


def other(word):
    return word.encode() * 10_000


def keep_other(path, word):
    """What a child does that writes an entry of a cache."""
    keep(Path(path), other(word))


def show_with(home, *words):
    """What a child does that keeps what it can: the Hub's file, headers, the answer."""
    from huggingface_hub import constants

    from vlm_inspect.__main__ import main

    constants.HF_ASSETS_CACHE = home
    sys.argv = ["vlm-inspect", "show", NAME, "--builder", "header", "--cache-dir", f"{home}/hub", *words]
    main()


def test_killed_while_it_fills_its_caches_the_program_answers_right_the_next_time(hub, nursery, tmp_path):
    sparse.write_sharded(tmp_path / "model", {f"model.layers.{i}.up.weight": (64, 256) for i in range(4)}, 2)
    hub.add_model(NAME, {"config.json": LLAVA_CONFIG, **{p.name: p for p in (tmp_path / "model").iterdir()}})

    def task(home, *words, **moment):
        return Task(str(tmp_path), (str(tmp_path / home), *words), f"{__name__}:show_with", **moment)

    whole = nursery.run(task("whole", within="whole"))
    assert whole.code == 0, whole.said
    kept = {path.name for path in (tmp_path / "whole").rglob("*") if path.is_file()}
    assert len(kept) == 6  # the configuration, where the branch is, an index, two headers, an answer
    killed = 0
    for index, moment in enumerate(moments(whole.seconds, 6)):
        home = f"home-{index}"
        killed += nursery.run(task(home, within=home, seconds=moment)).was_killed
        again = nursery.run(task(home))
        assert (again.code, again.said) == (0, whole.said)
        assert {path.name for path in (tmp_path / home).rglob("*") if path.is_file()} >= kept
    assert killed


def test_the_installed_program_is_killed_while_it_writes_and_run_again(project):
    """Killed as soon as the new file shows beside the old one."""
    old = contents(project)
    command = [*SCRIPT, "table", "--write", "README.md"]
    with subprocess.Popen(command, cwd=project, env=environment(), stderr=subprocess.PIPE) as process:
        wait_until(lambda: litter(project) or process.poll() is not None)
        process.send_signal(signal.SIGKILL)
    between = contents(project)
    assert run(*command[1:], cwd=project).code == 0
    assert litter(project) == []
    assert {name: between[name] for name in old} in (old, contents(project))


def test_what_a_living_process_is_writing_is_not_taken_for_a_leftover(tmp_path):
    seen = []

    def look():
        take_leftovers_away.__wrapped__(tmp_path)  # as another process would at its first write
        seen.extend(litter(tmp_path))
        return False

    assert replace_file(tmp_path / "file", b"new", unless=look) is True
    assert len(seen) == 1
    assert (tmp_path / "file").read_bytes() == b"new"


def test_only_what_has_the_name_of_a_leftover_is_taken_away(tmp_path):
    names = [".vlm-inspect-0123456789abcdef.tmp", ".vlm-inspect-settings.tmp", ".vlm-inspect-0.tmp", "a.tmp"]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / ".vlm-inspect-aaaaaaaaaaaaaaaa.tmp").mkdir()
    (tmp_path / ".vlm-inspect-bbbbbbbbbbbbbbbb.tmp").symlink_to("a.tmp")
    os.mkfifo(tmp_path / ".vlm-inspect-cccccccccccccccc.tmp")
    take_leftovers_away.__wrapped__(tmp_path)
    assert not (tmp_path / names[0]).exists()
    assert all((tmp_path / name).exists() for name in names[1:])
    assert (tmp_path / ".vlm-inspect-aaaaaaaaaaaaaaaa.tmp").is_dir()
