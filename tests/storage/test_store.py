"""Cached results are read as they were written, or not at all."""

import os

import pytest
from msgspec.structs import replace

from tests.every_type import TYPES
from tests.every_type.answers import record_of, tree_of
from vlm_inspect.core import codec
from vlm_inspect.core.errors import NotNativeError
from vlm_inspect.core.model_ref import ModelIdentity
from vlm_inspect.storage import cache
from vlm_inspect.storage.cache import CachedResult, ResultCache

MODEL = ModelIdentity("org/name", "a" * 40, "hub")
KEY = "1" * 64


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "answers"


def read_from(folder, key=KEY, **options):
    """Read as another process does."""
    return ResultCache(folder).get(key, MODEL, **{"with_tree": True} | options)


def file_of(folder):
    (path,) = folder.iterdir()
    return path


@pytest.fixture
def cached(folder):
    """A cached result."""
    result = CachedResult(record_of("llava"), tree_of("llava"), ("a note",))
    ResultCache(folder).put(KEY, result)
    return result


@pytest.mark.parametrize("model_type", TYPES)
def test_every_type_is_read_as_it_was_written(folder, model_type):
    record, tree = record_of(model_type), tree_of(model_type)
    ResultCache(folder).put(KEY, CachedResult(record, tree, ("a note", "another")))
    found = read_from(folder)
    assert found.architecture == replace(record, model=MODEL)
    assert codec.to_bytes(found.tree) == codec.to_bytes(tree)
    assert found.notes == ("a note", "another")
    assert read_from(folder, with_tree=False).tree is None


def test_a_missing_class_is_cached_with_its_reason(folder):
    ResultCache(folder).put(KEY, NotNativeError("it has none", hint="try", model="x", short="none"))
    found = read_from(folder)
    assert isinstance(found, NotNativeError)
    assert (found.message, found.hint, found.model, found.short) == ("it has none", "try", "org/name", "none")


def test_an_unknown_key_is_not_found(folder, cached):
    assert read_from(folder, "2" * 64) is None
    assert read_from(folder / "none") is None
    assert read_from(folder).architecture.components == cached.architecture.components


def test_results_are_cached_in_memory_without_a_folder():
    memory = ResultCache()
    memory.put(KEY, CachedResult(record_of("llava"), tree_of("llava")))
    assert memory.get(KEY, MODEL, with_tree=True).architecture.parameters == record_of("llava").parameters


def damages():
    yield "cut", lambda data: data[:-1]
    yield "empty", lambda _: b""
    yield "something else", lambda _: b'{"answer": 42}'
    for place in (0, 1000):
        yield f"a bit at {place}", lambda data, at=place: data[:at] + bytes([data[at] ^ 1]) + data[at:][1:]


@pytest.mark.parametrize("damage", [d for _, d in damages()], ids=[name for name, _ in damages()])
@pytest.mark.usefixtures("cached")
def test_a_damaged_file_is_not_read_and_is_replaced(folder, damage):
    path = file_of(folder)
    path.write_bytes(damage(path.read_bytes()))
    assert read_from(folder) is None
    ResultCache(folder).put(KEY, CachedResult(record_of("llava"), tree_of("llava")))
    assert read_from(folder).architecture.model == MODEL


def test_the_least_recently_used_are_removed(folder, cached):
    keys = [str(number) * 64 for number in range(2, 7)]
    shared = ResultCache(folder)
    for moment, key in enumerate(keys):
        shared.put(key, cached)
        os.utime(folder / f"{key}.answer", (moment, moment))
    assert read_from(folder, keys[0]) is not None  # and is the newest by that
    cache.prune(folder, 3)
    assert {path.stem for path in folder.iterdir()} == {KEY, keys[0], keys[-1]}


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(cache, "_MOST_IN_MEMORY", 100_000)
    memory = ResultCache()
    result = CachedResult(record_of("llava"), tree_of("llava"))
    keys = [f"{number:064}" for number in range(100)]
    for key in keys:
        memory.put(key, result)
    found = [memory.get(key, MODEL, with_tree=False) is not None for key in keys]
    assert found[-1]
    assert 1 <= sum(found) < 20
