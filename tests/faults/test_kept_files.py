"""A cache's files: read back exactly or as if they were not there, and healed by the next who keeps them."""

import os
import stat
import tempfile
from pathlib import Path

import pytest

from tests.faults.nursery import Nursery, Task
from vlm_inspect.kept_files import keep, read_kept

CONTENT = bytes(range(256)) * 40
LIMIT = len(CONTENT)
NOBODY = 65534


@pytest.fixture
def entry(tmp_path):
    path = tmp_path / "entry"
    keep(path, CONTENT)
    return path


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def empty(path):
    os.truncate(path, 0)


def garbage(path):
    path.write_bytes(os.urandom(len(CONTENT)))


def zeros(path):
    path.write_bytes(bytes(path.stat().st_size))  # what a power cut can make of a file


def longer(path):
    with path.open("ab") as file:
        file.write(b"more")


def other_byte(path):
    stored = bytearray(path.read_bytes())
    stored[-1] ^= 1
    path.write_bytes(stored)


def folder(path):
    path.unlink()
    (path / "with").mkdir(parents=True)
    (path / "with" / "something").write_text("in it")


def loop(path):
    path.unlink()
    path.symlink_to(path)


def link_to_nowhere(path):
    path.unlink()
    path.symlink_to(path.parent / "nowhere" / "at all")


def pipe(path):
    path.unlink()
    os.mkfifo(path)


def removed(path):
    path.unlink()


DAMAGES = [cut, empty, garbage, zeros, longer, other_byte, folder, loop, link_to_nowhere, pipe, removed]


def test_what_was_kept_is_read_back(entry):
    assert read_kept(entry, LIMIT) == CONTENT


def test_the_limit_is_on_what_was_kept(entry):
    assert read_kept(entry, LIMIT - 1) is None


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_none_and_is_healed_by_the_next_who_keeps_it(entry, damage):
    damage(entry)
    assert read_kept(entry, LIMIT) is None
    keep(entry, CONTENT)
    assert read_kept(entry, LIMIT) == CONTENT
    assert [path.name for path in entry.parent.iterdir()] == ["entry"]


def test_a_link_in_an_entrys_place_is_replaced_and_what_it_leads_to_is_not(entry, tmp_path):
    (tmp_path / "own.txt").write_text("a user's own")
    entry.unlink()
    entry.symlink_to("own.txt")
    assert read_kept(entry, LIMIT) is None
    keep(entry, CONTENT)
    assert read_kept(entry, LIMIT) == CONTENT
    assert (tmp_path / "own.txt").read_text() == "a user's own"


def test_a_folder_of_anothers_under_a_links_name_is_not_emptied(entry, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "file").touch()
    entry.unlink()
    entry.symlink_to("own")
    keep(entry, CONTENT)
    assert read_kept(entry, LIMIT) == CONTENT
    assert (tmp_path / "own" / "file").exists()


def test_a_cache_that_cannot_be_written_keeps_nothing_and_says_nothing(tmp_path):
    (tmp_path / "file").touch()
    keep(tmp_path / "file" / "entry", CONTENT)
    keep(tmp_path / "none" / "entry", CONTENT)
    assert read_kept(tmp_path / "file" / "entry", LIMIT) is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


# --- of other users


@pytest.fixture(scope="module")
def nursery():
    with Nursery() as nursery:
        yield nursery


@pytest.fixture
def shared():
    """A folder that every user may reach; pytest's are for their owner alone."""
    with tempfile.TemporaryDirectory(dir=Path("/tmp").resolve()) as name:  # noqa: S108
        Path(name).chmod(0o755)
        yield Path(name)


def ask_and_keep(entry, limit):
    """What a child does as another user than root: read an entry, and keep it where there is none."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    path = Path(entry)
    was_there = read_kept(path, int(limit)) is not None
    if not was_there:
        keep(path, CONTENT)
    print(was_there, read_kept(path, int(limit)) == CONTENT)  # noqa: T201 - to the test


def asked(nursery, entry):
    ended = nursery.run(Task("/", (str(entry), str(LIMIT)), f"{__name__}:ask_and_keep"))
    assert ended.code == 0, ended.said
    return ended.said.split()


def test_an_entry_that_may_not_be_read_is_made_anew(nursery, shared):
    entry = shared / "entry"
    keep(entry, CONTENT)
    entry.chmod(0)
    if os.geteuid() == 0:
        os.chown(entry, NOBODY, NOBODY)
        os.chown(shared, NOBODY, NOBODY)
    assert asked(nursery, entry) == ["False", "True"]
    assert stat.S_IMODE(entry.stat().st_mode) & 0o400


def facts(path):
    """What tells a file from one that was written again."""
    status = path.stat()
    return status.st_ino, status.st_mode, status.st_uid, status.st_size, status.st_mtime_ns


@pytest.mark.skipif("os.geteuid() != 0", reason="takes two users")
@pytest.mark.parametrize(("mode", "found"), [(0o644, ["True", "True"]), (0o600, ["False", "False"])])
def test_a_cache_of_somebody_else_is_read_where_it_may_be_and_never_changed(nursery, shared, mode, found):
    entry = shared / "entry"
    keep(entry, CONTENT)
    entry.chmod(mode)
    before = facts(entry)
    assert asked(nursery, entry) == found
    assert facts(entry) == before
    assert [path.name for path in shared.iterdir()] == ["entry"]
