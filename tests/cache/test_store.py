"""Answers that are kept come back as they were, or not at all."""

import os

import pytest
from msgspec.structs import replace

from tests.every_type import TYPES
from tests.every_type.answers import answer_of, tree_of
from vlm_inspect import tree_codec
from vlm_inspect.cache import store
from vlm_inspect.cache.entry import Answer
from vlm_inspect.errors import NotNativeError
from vlm_inspect.ref import ModelIdentity

MODEL = ModelIdentity("org/name", "a" * 40, "hub")
KEY = "1" * 64


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "answers"


def kept_in(folder, key=KEY, **asked):
    """What another process finds."""
    return store.AnswerStore(folder).get(key, MODEL, **{"with_tree": True} | asked)


def file_of(folder):
    (path,) = folder.iterdir()
    return path


@pytest.fixture
def kept(folder):
    """An answer that was kept."""
    answer = Answer(answer_of("llava"), tree_of("llava"), ("a note",))
    store.AnswerStore(folder).put(KEY, answer)
    return answer


@pytest.mark.parametrize("model_type", TYPES)
def test_every_types_answer_comes_back_whole(folder, model_type):
    record, tree = answer_of(model_type), tree_of(model_type)
    store.AnswerStore(folder).put(KEY, Answer(record, tree, ("a note", "another")))
    found = kept_in(folder)
    assert found.architecture == replace(record, model=MODEL)
    assert tree_codec.to_bytes(found.tree) == tree_codec.to_bytes(tree)
    assert found.notes == ("a note", "another")
    assert kept_in(folder, with_tree=False).tree is None


def test_that_there_is_no_class_is_kept_with_its_reason(folder):
    store.AnswerStore(folder).put(KEY, NotNativeError("it has none", hint="try", model="x", short="none"))
    found = kept_in(folder)
    assert isinstance(found, NotNativeError)
    assert (found.message, found.hint, found.model, found.short) == ("it has none", "try", "org/name", "none")


def test_what_was_not_kept_is_not_found(folder, kept):
    assert kept_in(folder, "2" * 64) is None
    assert kept_in(folder / "none") is None
    assert kept_in(folder).architecture.components == kept.architecture.components


def test_within_a_process_no_folder_is_needed():
    memory = store.AnswerStore()
    memory.put(KEY, Answer(answer_of("llava"), tree_of("llava")))
    assert memory.get(KEY, MODEL, with_tree=True).architecture.parameters == answer_of("llava").parameters


def damages():
    yield "cut", lambda data: data[:-1]
    yield "cut in half", lambda data: data[: len(data) // 2]
    yield "empty", lambda _: b""
    yield "longer", lambda data: data + b"\0"
    yield "something else", lambda _: b'{"answer": 42}'
    for place in (0, 40, 1000, -1):
        yield f"a bit at {place}", lambda data, at=place: data[:at] + bytes([data[at] ^ 1]) + data[at:][1:]


@pytest.mark.parametrize("damage", [d for _, d in damages()], ids=[name for name, _ in damages()])
@pytest.mark.usefixtures("kept")
def test_a_damaged_file_is_none_and_is_replaced(folder, damage):
    path = file_of(folder)
    path.write_bytes(damage(path.read_bytes()))
    assert kept_in(folder) is None
    store.AnswerStore(folder).put(KEY, Answer(answer_of("llava"), tree_of("llava")))
    assert kept_in(folder).architecture.model == MODEL


def test_of_too_many_those_that_were_longest_not_asked_for_go(folder, kept):
    keys = [str(number) * 64 for number in range(2, 7)]
    shared = store.AnswerStore(folder)
    for moment, key in enumerate(keys):
        shared.put(key, kept)
        os.utime(folder / f"{key}.answer", (moment, moment))
    assert kept_in(folder, keys[0]) is not None  # and is the newest by that
    store.prune(folder, 3)
    assert {path.stem for path in folder.iterdir()} == {KEY, keys[0], keys[-1]}


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(store, "_MOST_IN_MEMORY", 100_000)
    memory = store.AnswerStore()
    answer = Answer(answer_of("llava"), tree_of("llava"))
    keys = [f"{number:064}" for number in range(100)]
    for key in keys:
        memory.put(key, answer)
    found = [memory.get(key, MODEL, with_tree=False) is not None for key in keys]
    assert found[-1]
    assert 1 <= sum(found) < 20
