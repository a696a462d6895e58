import json
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.every_type import default_config
from vlm_inspect.anatomy.describe import describe
from vlm_inspect.builders.transformers import build
from vlm_inspect.compare.compare import compare
from vlm_inspect.core.errors import SnapshotError
from vlm_inspect.core.model_ref import ModelIdentity
from vlm_inspect.core.snapshot import Snapshot
from vlm_inspect.storage import snapshots
from vlm_inspect.storage.snapshots import SnapshotFile, file_name, from_text, to_text


def snapshot(model_type):
    tree = build.build(default_config(model_type), model_type)
    return Snapshot.of(describe(tree, ModelIdentity("org/name", "a" * 40), "transformers"), tree)


@pytest.fixture(scope="module", params=["llava", "florence2", "mllama", "vision-encoder-decoder", "qwen3_vl_moe"])
def stored(request):
    return SnapshotFile(snapshot(request.param), "main")


def test_a_snapshot_survives_its_file(stored):
    back = from_text(to_text(stored).encode(), "x.json")
    assert back.snapshot.architecture == stored.snapshot.architecture
    assert back.follows == "main"
    assert dict(back.snapshot.modules.parameter_paths()) == dict(stored.snapshot.modules.parameter_paths())
    assert [(path, node.class_name) for path, node in back.snapshot.modules.walk()] == [
        (path, node.class_name) for path, node in stored.snapshot.modules.walk()
    ]
    assert compare(stored.snapshot, back.snapshot).empty


def test_writing_what_was_read_changes_nothing(stored):
    text = to_text(stored)
    assert to_text(from_text(text.encode(), "x.json")) == text


def test_a_file_has_one_fact_per_line(stored):
    for line in to_text(stored).splitlines():
        assert line.count(":") <= 1 or '": "' in line, line


def test_repeated_layers_are_written_once(stored):
    assert len(to_text(stored)) < 120_000


def test_evidence_is_not_kept(stored):
    assert "evidence" not in to_text(stored)


def test_a_plain_name_is_its_own():
    assert file_name("llava-hf/llava-1.5-7b-hf") == "llava-hf--llava-1.5-7b-hf.json"


NAMES = st.text(max_size=60) | st.from_regex(r"[A-Za-z0-9._/@~-]{0,40}", fullmatch=True)


@given(NAMES)
def test_a_file_name_cannot_leave_its_folder(model):
    name = file_name(model)
    assert not set(name) & set('/\\:*?"<>|\0\n')
    assert name not in {".", ".."}
    assert name.isascii()
    assert len(name) < 200


@given(NAMES, NAMES)
def test_two_models_have_two_files_where_case_is_folded_too(one, other):
    assert (file_name(one).lower() == file_name(other).lower()) == (one == other)


@pytest.mark.parametrize(
    "pair", [("Org/Name", "org/name"), ("org/name", "org--name"), ("a/b@v1", "a/b--v1"), ("./a/m", "./b/m")]
)
def test_names_that_look_alike_do_not_meet(pair):
    assert file_name(pair[0]).lower() != file_name(pair[1]).lower()


def deep(levels):
    """A snapshot whose modules lie inside one another."""
    node = {"class": "X"}
    for _ in range(levels):
        node = {"class": "X", "children": {"a": node}}
    return json.dumps({**json.loads(content()), "modules": node})


def wide(runs):
    """A few lines that stand for millions of modules."""
    layers = {f"{run}00000-{run}99999": {"class": "X"} for run in range(1, runs + 1)}
    return json.dumps({**json.loads(content()), "modules": {"class": "M", "children": layers}})


@cache
def content():
    return to_text(SnapshotFile(snapshot("llava")))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda _: "", "the file is empty"),
        (lambda _: "\n \n", "the file is empty"),
        (lambda text: text[: len(text) // 2], "not JSON"),
        (lambda _: "[1, 2]", "not a snapshot of vlm-inspect"),
        (lambda _: '{"model_type": "llava"}', "not a snapshot of vlm-inspect"),
        (lambda text: text.replace('"schema_version": 1', '"schema_version": 2'), "schema 2"),
        (lambda text: text.replace('"schema_version": 1', '"schema_version": "x"'), "schema 'x'"),
        (lambda text: "<<<<<<< ours\n" + text + "=======\n" + text + ">>>>>>> theirs\n", "merge conflict"),
        (lambda text: text.replace('"role": "projector"', '"role": "pilot"'), "pilot"),
        (lambda text: text.replace('"0-31"', '"0-999999999999"'), "more than 200,000 modules"),
        (lambda text: text.replace('"weight": [4096]', '"weight": [-1]'), "Expected `int` >= 0"),
        (lambda text: text.replace('"modules": {', '"modules": {"children": [], "x": {'), "x.json"),
        (lambda text: text.replace('"weight": [4096]', f'"weight": [{"9" * 41}]'), "a number has 41 digits"),
        (lambda text: text.replace('"weight": [4096]', f'"weight": {[1] * 17}'), "of length <= 16"),
        (lambda text: text.replace('"weight": [4096]', '"weight": "x"'), "Expected `array`, got `str`"),
        (lambda text: text.replace('"0-31"', '"*"'), "is not the name of a module"),
        (lambda text: text.replace('"0-31"', '"\u00b2"'), "is not the name of a module"),
        (lambda text: text.replace('"schema_version": 1', f'"schema_version": "{"x" * 999}"'), "schema 'xxx"),
        (
            lambda text: text.replace('"components": [', f'"components": [{"[" * 900}{"]" * 900}, '),
            "recursion",
        ),
        (lambda text: text.replace('"in_channels": 3,', ""), "missing required field `in_channels`"),
        (
            lambda text: text.replace('"out_channels": 1024', '"out_channels": -1'),
            "Expected `int` >= 0",
        ),
        (lambda _: deep(250), "nested more than 200 deep"),
        (lambda _: wide(60), "more than 200,000 modules"),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong(damage, sentence):
    with pytest.raises(SnapshotError) as raised:
        from_text(damage(content()).encode(), "x.json")
    assert raised.value.message.startswith("x.json: ")
    assert sentence in raised.value.message
    assert raised.value.hint


def test_a_newer_schema_asks_for_a_newer_tool():
    text = content().replace('"schema_version": 1', '"schema_version": 2')
    with pytest.raises(SnapshotError) as raised:
        from_text(text.encode(), "x.json")
    assert "newer" in raised.value.hint


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(SnapshotError, match=r"gone\.json"):
        snapshots.read(tmp_path / "gone.json")
