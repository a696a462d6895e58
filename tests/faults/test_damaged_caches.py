"""Caches that were damaged: what is wrong in them is dropped and made anew, and the answer is right."""

import json
import os

import pytest

from tests import sparse
from tests.cli.program import LLAVA, call
from tests.faults.test_cached_files import cut, empty, garbage, link_to_nowhere, loop, zeros
from vlm_inspect.core.errors import HubUnavailableError, InvalidConfigError
from vlm_inspect.core.model_ref import ModelRef
from vlm_inspect.core.options import InspectOptions
from vlm_inspect.sources import load

NAME = "org/name"
CONFIG = {"model_type": "llava", "hidden_size": 64}
TENSORS = {f"model.layers.{index}.mlp.down_proj.weight": (64, 256) for index in range(4)}


def other_json(path):
    """Whole as JSON, and of another length: nothing but the Hub can tell."""
    path.write_text('{"model_type": "other"}')


def html(path):
    path.write_text("<html>a portal's page, where a proxy was asked for a file</html>")


@pytest.fixture
def options(tmp_path):
    return InspectOptions(cache_dir=tmp_path / "cache")


@pytest.fixture
def config_file(hub, options):
    """The configuration in the Hub's cache, from where it was read once."""
    commit = hub.add_model(NAME, {"config.json": CONFIG})
    assert load(ModelRef(NAME), options).config == CONFIG
    hub.requests.clear()
    return options.cache_dir / "models--org--name" / "snapshots" / commit / "config.json"


CONFIG_DAMAGES = [cut, empty, garbage, zeros, html, loop, link_to_nowhere]


@pytest.mark.parametrize("damage", [*CONFIG_DAMAGES, other_json])
def test_a_damaged_configuration_in_the_hubs_cache_is_fetched_again(config_file, options, hub, damage):
    damage(config_file)
    assert load(ModelRef(NAME), options).config == CONFIG
    assert json.loads(config_file.read_text()) == CONFIG
    assert hub.counted("GET") == 1
    load(ModelRef(NAME), options)
    assert hub.counted("GET") == 1


def test_what_huggingface_hub_linked_there_is_replaced_and_its_blob_is_not_touched(config_file, options):
    blob = config_file.parent.parent.parent / "blobs" / "cut"
    blob.parent.mkdir()
    blob.write_text('{"model_')
    config_file.unlink()
    config_file.symlink_to(os.path.relpath(blob, config_file.parent))
    assert load(ModelRef(NAME), options).config == CONFIG
    assert not config_file.is_symlink()
    assert blob.read_text() == '{"model_'


@pytest.mark.parametrize("damage", [cut, html])
@pytest.mark.parametrize("way", ["offline", "out of reach"])
def test_a_damaged_configuration_that_cannot_be_fetched_is_told_as_what_it_is(
    config_file, options, hub, damage, way
):
    damage(config_file)
    if way == "out of reach":
        hub.fault("config.json", drop=True)
    asked = InspectOptions(cache_dir=options.cache_dir, offline=way == "offline")
    for ref in (ModelRef(NAME), ModelRef(NAME, config_file.parent.name)):
        with pytest.raises(
            HubUnavailableError, match=r"The cached copy of org/name is damaged: the config\.json "
        ):
            load(ref, asked)


@pytest.mark.parametrize("damage", [empty, garbage, loop])
def test_a_damaged_branch_in_the_hubs_cache_is_asked_for_again(config_file, options, damage):
    branch = options.cache_dir / "models--org--name" / "refs" / "main"
    damage(branch)
    assert load(ModelRef(NAME), options).config == CONFIG
    assert branch.read_text() == config_file.parent.name
    offline = InspectOptions(cache_dir=options.cache_dir, offline=True)
    assert load(ModelRef(NAME), offline).config == CONFIG


def test_a_model_whose_configuration_is_none_is_no_damaged_cache(hub, options):
    hub.add_model(NAME, {"config.json": b"<html>"})
    with pytest.raises(InvalidConfigError, match="HTML page") as caught:
        load(ModelRef(NAME), options)
    assert "cache" not in caught.value.message


# --- the headers of a checkpoint


@pytest.fixture
def kept_headers(hub, tmp_path):
    """A header build whose headers and index were kept: the command's words, its answer, the files."""
    sparse.write_sharded(tmp_path / "model", TENSORS, 2)
    hub.add_model(NAME, {"config.json": LLAVA, **{p.name: p for p in (tmp_path / "model").iterdir()}})
    words = ("show", NAME, "--builder", "header", "--no-cache", "--cache-dir", tmp_path / "cache")
    answer = call(*words)
    assert answer.code == 0, answer.stderr
    files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and "assets" in path.parts]
    assert len(files) == 3
    return words, answer, files


@pytest.mark.parametrize("damage", [cut, zeros, link_to_nowhere])
def test_damaged_headers_are_fetched_again_and_kept(hub, kept_headers, damage):
    words, answer, files = kept_headers
    sound = {path: path.read_bytes() for path in files}
    for path in files:
        damage(path)
    assert call(*words) == answer
    assert {path: path.read_bytes() for path in files} == sound
    hub.requests.clear()
    assert call(*words) == answer
    assert [request.method for request in hub.requests] == ["HEAD"]


@pytest.mark.parametrize("what", ["a file", "a loop"])
def test_a_header_cache_without_a_folder_is_done_without(kept_headers, what):
    words, answer, files = kept_headers
    for path in files:
        path.unlink()
    place = files[0].parent
    place.rmdir()
    place.touch() if what == "a file" else place.symlink_to(place)
    assert call(*words) == answer
