"""Cache files: read as they were written, or not at all; written again after damage."""

import os

import pytest

from vlm_inspect.storage.cache import read_cached, write_cached

CONTENT = bytes(range(256)) * 40
LIMIT = len(CONTENT)


@pytest.fixture
def entry(tmp_path):
    path = tmp_path / "entry"
    write_cached(path, CONTENT)
    return path


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def empty(path):
    os.truncate(path, 0)


def garbage(path):
    path.write_bytes(os.urandom(len(CONTENT)))


def zeros(path):
    path.write_bytes(bytes(path.stat().st_size))  # a power failure may leave this


def longer(path):
    with path.open("ab") as file:
        file.write(b"more")


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


DAMAGES = [cut, empty, garbage, zeros, longer, loop, link_to_nowhere, pipe, removed]


def test_the_limit_is_on_the_content(entry):
    assert read_cached(entry, LIMIT) == CONTENT
    assert read_cached(entry, LIMIT - 1) is None


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_not_read_and_can_be_written_again(entry, damage):
    damage(entry)
    assert read_cached(entry, LIMIT) is None
    write_cached(entry, CONTENT)
    assert read_cached(entry, LIMIT) == CONTENT
    assert [path.name for path in entry.parent.iterdir()] == ["entry"]


def test_a_link_is_replaced_and_its_target_unchanged(entry, tmp_path):
    (tmp_path / "own.txt").write_text("a user's own")
    entry.unlink()
    entry.symlink_to("own.txt")
    assert read_cached(entry, LIMIT) is None
    write_cached(entry, CONTENT)
    assert read_cached(entry, LIMIT) == CONTENT
    assert (tmp_path / "own.txt").read_text() == "a user's own"


def test_an_unwritable_cache_is_not_an_error(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    write_cached(tmp_path / "file" / "entry", CONTENT)
    write_cached(tmp_path / "folder", CONTENT)
    assert read_cached(tmp_path / "file" / "entry", LIMIT) is None
    assert read_cached(tmp_path / "folder", LIMIT) is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
