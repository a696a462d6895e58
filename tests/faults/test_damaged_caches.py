"""Damaged caches: damaged files are downloaded again, and the result is right."""

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
    """Valid JSON of another length: only the Hub can tell."""
    path.write_text('{"model_type": "other"}')


def html(path):
    path.write_text("<html>the login page of a proxy</html>")


@pytest.fixture
def options(tmp_path):
    return InspectOptions(cache_dir=tmp_path / "cache")


@pytest.fixture
def config_file(hub, options):
    """The configuration in the Hub cache."""
    commit = hub.add_model(NAME, {"config.json": CONFIG})
    assert load(ModelRef(NAME), options).config == CONFIG
    hub.requests.clear()
    return options.cache_dir / "models--org--name" / "snapshots" / commit / "config.json"


CONFIG_DAMAGES = [cut, empty, garbage, zeros, html, loop, link_to_nowhere]


@pytest.mark.parametrize("damage", [*CONFIG_DAMAGES, other_json])
def test_a_damaged_configuration_in_the_hub_cache_is_downloaded_again(config_file, options, hub, damage):
    damage(config_file)
    assert load(ModelRef(NAME), options).config == CONFIG
    assert json.loads(config_file.read_text()) == CONFIG
    assert hub.counted("GET") == 1
    load(ModelRef(NAME), options)
    assert hub.counted("GET") == 1


def test_a_link_of_huggingface_hub_is_replaced_and_its_blob_unchanged(config_file, options):
    blob = config_file.parent.parent.parent / "blobs" / "cut"
    blob.parent.mkdir()
    blob.write_text('{"model_')
    config_file.unlink()
    config_file.symlink_to(os.path.relpath(blob, config_file.parent))
    assert load(ModelRef(NAME), options).config == CONFIG
    assert not config_file.is_symlink()
    assert blob.read_text() == '{"model_'


@pytest.mark.parametrize("damage", [cut, html])
@pytest.mark.parametrize("network", ["offline", "unreachable"])
def test_a_damaged_configuration_is_an_error_if_it_cannot_be_downloaded(config_file, options, hub, damage, network):
    damage(config_file)
    if network == "unreachable":
        hub.fault("config.json", drop=True)
    options = InspectOptions(cache_dir=options.cache_dir, offline=network == "offline")
    for ref in (ModelRef(NAME), ModelRef(NAME, config_file.parent.name)):
        with pytest.raises(HubUnavailableError, match=r"The cached copy of org/name is damaged: the config\.json "):
            load(ref, options)


@pytest.mark.parametrize("damage", [empty, garbage, loop])
def test_a_damaged_branch_in_the_hub_cache_is_resolved_again(config_file, options, damage):
    branch = options.cache_dir / "models--org--name" / "refs" / "main"
    damage(branch)
    assert load(ModelRef(NAME), options).config == CONFIG
    assert branch.read_text() == config_file.parent.name
    offline = InspectOptions(cache_dir=options.cache_dir, offline=True)
    assert load(ModelRef(NAME), offline).config == CONFIG


def test_an_invalid_configuration_is_no_damaged_cache(hub, options):
    hub.add_model(NAME, {"config.json": b"<html>"})
    with pytest.raises(InvalidConfigError, match="HTML page") as caught:
        load(ModelRef(NAME), options)
    assert "cache" not in caught.value.message


# --- the headers of a checkpoint


@pytest.fixture
def cached_headers(hub, tmp_path):
    """A header build whose headers and index are cached: arguments, output, cache files."""
    sparse.write_sharded(tmp_path / "model", TENSORS, 2)
    hub.add_model(NAME, {"config.json": LLAVA, **{p.name: p for p in (tmp_path / "model").iterdir()}})
    arguments = ("show", NAME, "--builder", "header", "--no-cache", "--cache-dir", tmp_path / "cache")
    answer = call(*arguments)
    assert answer.code == 0, answer.stderr
    files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and "assets" in path.parts]
    assert len(files) == 3
    return arguments, answer, files


@pytest.mark.parametrize("damage", [cut, zeros, link_to_nowhere])
def test_damaged_headers_are_downloaded_again_and_cached(hub, cached_headers, damage):
    arguments, answer, files = cached_headers
    original = {path: path.read_bytes() for path in files}
    for path in files:
        damage(path)
    assert call(*arguments) == answer
    assert {path: path.read_bytes() for path in files} == original
    hub.requests.clear()
    assert call(*arguments) == answer
    assert [request.method for request in hub.requests] == ["HEAD"]


@pytest.mark.parametrize("what", ["a file", "a loop"])
def test_a_header_cache_without_a_folder_is_not_used(cached_headers, what):
    arguments, answer, files = cached_headers
    for path in files:
        path.unlink()
    folder = files[0].parent
    folder.rmdir()
    folder.touch() if what == "a file" else folder.symlink_to(folder)
    assert call(*arguments) == answer
