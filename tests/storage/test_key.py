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


def clear_versions():
    for versions in (
        library_versions.library_versions,
        library_versions.environment_versions,
        library_versions.own_version,
    ):
        versions.cache_clear()


@pytest.fixture(autouse=True)
def _fresh():
    yield
    clear_versions()


def test_the_origin_of_a_configuration_is_not_part_of_the_key():
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
def test_any_other_change_is_another_key(other):
    assert key_for_config("transformers", CONFIG) != key_for_config("transformers", other)


def test_each_builder_and_commit_has_its_own_key():
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


def test_results_from_other_files_of_a_local_folder_are_not_cached():
    local = ModelIdentity("folder", None, "local")
    assert key_for_commit("header", CONFIG, local) is None
    assert key_for_commit("remote-code", CONFIG, local) is None


def keys_on_a_path_with(folder, monkeypatch):
    monkeypatch.syspath_prepend(str(folder))
    clear_versions()
    return key_for_config("transformers", CONFIG), key_for_commit("remote-code", CONFIG, MODEL)


def install(folder, name, version, source=None):
    """Write the metadata of a package to a folder."""
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
def test_results_of_editable_packages_are_not_cached(monkeypatch, tmp_path, name, cached):
    editable = '{"dir_info": {"editable": true}, "url": "file:///src"}'
    native, remote = keys_on_a_path_with(install(tmp_path, name, "1", editable), monkeypatch)
    assert (native is not None, remote) == (cached, None)


def test_every_installed_package_is_part_of_the_key_of_remote_code(monkeypatch, tmp_path):
    one, other = (
        keys_on_a_path_with(install(tmp_path / version, "einops", version), monkeypatch) for version in ("1", "2")
    )
    assert None not in {*one, *other}
    assert one[0] == other[0]
    assert one[1] != other[1]


def test_the_remains_of_an_uninstalled_package_are_ignored(monkeypatch, tmp_path):
    (tmp_path / "~inops-1.dist-info").mkdir()
    assert None not in keys_on_a_path_with(tmp_path, monkeypatch)


def test_a_change_of_our_own_source_is_another_key(monkeypatch):
    before = key_for_config("transformers", CONFIG)
    monkeypatch.setattr(library_versions, "own_version", lambda: "another state")
    assert key_for_config("transformers", CONFIG) != before


def checked_packages(path):
    """The packages whose availability a file of transformers checks."""
    return set(re.findall(r"\bis_([a-z0-9_]+)_available\b", path.read_text(encoding="utf-8")))


# the name in `is_…_available` is not that of the package
PACKAGES = {
    "accelerate": "accelerate",
    "cell_supervision": "supervision",
    "flash_attn": "flash-attn",
    "torch": "torch",
    "vision": "pillow",
}
# parts of torch, no packages
OF_TORCH = {"torch_cuda", "torch_flex_attn", "torch_npu", "torch_xpu", "torch_mps", "torch_xla"}


def test_every_package_that_transformers_checks_for_is_part_of_the_key():
    models = Path(transformers.__file__).parent / "models"
    checked = set().union(*map(checked_packages, models.glob("*/modeling_*.py"))) - OF_TORCH
    packages = {PACKAGES.get(name, name) for name in checked}
    assert packages <= {*library_versions.LIBRARIES, *library_versions.OPTIONAL}
    assert len(packages) > 10


def test_every_type_has_its_own_key():
    keys = {key_for_config("transformers", config_of(each)) for each in TYPES}
    assert None not in keys
    assert len(keys) == len(TYPES)
