"""The cache key: everything that can change a result, and nothing else."""

import json
import re
from pathlib import Path

import pytest
import transformers

from tests.every_type import TYPES, config_of
from vlm_inspect.core.model_ref import ModelIdentity
from vlm_inspect.storage import library_versions
from vlm_inspect.storage.cache import key_for_commit, key_for_config

CONFIG = {"model_type": "llava", "text_config": {"hidden_size": 64, "_name_or_path": "a/b"}}
MODEL = ModelIdentity("org/name", "a" * 40, "hub")


def copy_of(config, **changes):
    return json.loads(json.dumps(config)) | changes


def look_again():
    for versions in (
        library_versions.library_versions,
        library_versions.environment_versions,
        library_versions.own_version,
    ):
        versions.cache_clear()


@pytest.fixture(autouse=True)
def _fresh():
    yield
    look_again()


def test_who_wrote_a_configuration_is_no_part_of_its_key():
    other = copy_of(CONFIG, _name_or_path="elsewhere", transformers_version="4.41.2")
    other["text_config"]["_name_or_path"] = "c/d"
    assert key_for_config("transformers", CONFIG) == key_for_config("transformers", other)


@pytest.mark.parametrize(
    "other",
    [
        copy_of(CONFIG, model_type="llava_next"),
        copy_of(CONFIG, text_config={"hidden_size": 64.0}),
        copy_of(CONFIG, text_config={"hidden_size": "64"}),
        copy_of(CONFIG, further=None),
        {},
    ],
    ids=str,
)
def test_any_other_value_is_another_key(other):
    assert key_for_config("transformers", CONFIG) != key_for_config("transformers", other)


def test_each_builder_and_each_commit_has_its_own():
    keys = [
        key_for_config("transformers", CONFIG),
        key_for_commit("remote-code", CONFIG, MODEL),
        key_for_commit("header", CONFIG, MODEL),
        key_for_commit("header", CONFIG, ModelIdentity("org/name", "b" * 40, "hub")),
        key_for_commit("header", CONFIG, ModelIdentity("org/other", "a" * 40, "hub")),
        key_for_commit("header", CONFIG, ModelIdentity("org/name", None, "catalogue")),
        key_for_commit("header", copy_of(CONFIG, further=1), MODEL),
    ]
    assert len(set(keys)) == len(keys)
    assert all(re.fullmatch("[0-9a-f]{64}", each) for each in keys)


def test_a_folders_other_files_may_change_so_what_is_read_off_them_has_no_key():
    local = ModelIdentity("folder", None, "local")
    assert key_for_commit("header", CONFIG, local) is None
    assert key_for_commit("remote-code", CONFIG, local) is None


def keys_on_a_path_with(folder, monkeypatch):
    monkeypatch.syspath_prepend(str(folder))
    look_again()
    return key_for_config("transformers", CONFIG), key_for_commit("remote-code", CONFIG, MODEL)


def install(folder, name, version, source=None):
    """Put the metadata of a package in a folder."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
    if source is not None:
        (info / "direct_url.json").write_text(source)
    return folder


def test_another_version_of_a_library_is_another_key(monkeypatch, tmp_path):
    here = key_for_config("transformers", CONFIG)
    for version in ("1", "2"):
        new = keys_on_a_path_with(install(tmp_path / version, "transformers", version), monkeypatch)
        assert None not in new
        assert here not in new
        here = new[0]


def test_another_commit_of_a_library_is_another_key(monkeypatch, tmp_path):
    source = '{{"url": "https://github.com/huggingface/transformers", "vcs_info": {{"commit_id": "{}"}}}}'
    keys = {
        keys_on_a_path_with(
            install(tmp_path / commit, "transformers", "5.24.0.dev0", source.format(commit)), monkeypatch
        )[0]
        for commit in ("1", "2")
    }
    assert len(keys - {None}) == 2


def test_an_optional_library_is_part_of_the_key(monkeypatch, tmp_path):
    here = key_for_config("transformers", CONFIG)
    assert keys_on_a_path_with(install(tmp_path, "timm", "1.0"), monkeypatch)[0] not in {None, here}


@pytest.mark.parametrize(("name", "cached"), [("transformers", False), ("timm", False), ("einops", True)])
def test_nothing_that_an_editable_package_may_change_is_cached(monkeypatch, tmp_path, name, cached):
    editable = '{"dir_info": {"editable": true}, "url": "file:///src"}'
    native, remote = keys_on_a_path_with(install(tmp_path, name, "1", editable), monkeypatch)
    assert (native is not None, remote) == (cached, None)


def test_code_of_a_repo_may_import_any_package_and_each_is_part_of_its_key(monkeypatch, tmp_path):
    one, other = (
        keys_on_a_path_with(install(tmp_path / version, "einops", version), monkeypatch)
        for version in ("1", "2")
    )
    assert None not in {*one, *other}
    assert one[0] == other[0]
    assert one[1] != other[1]


def test_what_is_left_of_a_package_that_was_taken_away_does_no_harm(monkeypatch, tmp_path):
    (tmp_path / "~inops-1.dist-info").mkdir()
    assert None not in keys_on_a_path_with(tmp_path, monkeypatch)


def test_a_change_of_our_own_source_is_another_key(monkeypatch):
    before = key_for_config("transformers", CONFIG)
    monkeypatch.setattr(library_versions, "own_version", lambda: "another state")
    assert key_for_config("transformers", CONFIG) != before


def asked_for(path):
    """The packages that a file of transformers asks for before it uses them."""
    return set(re.findall(r"\bis_([a-z0-9_]+)_available\b", path.read_text(encoding="utf-8")))


# asked for by `is_…_available`, and not the name of a package that pip knows
PACKAGES = {
    "accelerate": "accelerate",
    "cell_supervision": "supervision",
    "flash_attn": "flash-attn",
    "torch": "torch",
    "vision": "pillow",
}
# of the machine, or of this torch: no package
OF_TORCH = {"torch_cuda", "torch_flex_attn", "torch_npu", "torch_xpu", "torch_mps", "torch_xla"}


def test_every_package_that_a_class_of_a_multimodal_type_looks_for_is_part_of_the_key():
    models = Path(transformers.__file__).parent / "models"
    asked = set().union(*map(asked_for, models.glob("*/modeling_*.py"))) - OF_TORCH
    packages = {PACKAGES.get(name, name) for name in asked}
    assert packages <= {*library_versions.LIBRARIES, *library_versions.OPTIONAL}
    assert len(packages) > 10


def test_every_types_configuration_has_a_key_of_its_own():
    keys = {key_for_config("transformers", config_of(each)) for each in TYPES}
    assert None not in keys
    assert len(keys) == len(TYPES)
