"""What an answer is kept under: everything that can change it, and nothing else."""

import json
import re
import sys
from importlib import metadata
from pathlib import Path

import pytest
import transformers

from tests.every_type import TYPES, config_of
from vlm_inspect.cache import fingerprint, key
from vlm_inspect.ref import ModelIdentity

CONFIG = {"model_type": "llava", "text_config": {"hidden_size": 64, "_name_or_path": "a/b"}}
MODEL = ModelIdentity("org/name", "a" * 40, "hub")


def copy_of(config, **changes):
    return json.loads(json.dumps(config)) | changes


def look_again():
    for told in (fingerprint.of_libraries, fingerprint.of_everything, fingerprint.of_ourselves):
        told.cache_clear()


@pytest.fixture(autouse=True)
def _fresh():
    yield
    look_again()


def test_who_wrote_a_configuration_is_no_part_of_its_key():
    other = copy_of(CONFIG, _name_or_path="elsewhere", transformers_version="4.41.2")
    other["text_config"]["_name_or_path"] = "c/d"
    assert key.of_configuration("transformers", CONFIG) == key.of_configuration("transformers", other)


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
    assert key.of_configuration("transformers", CONFIG) != key.of_configuration("transformers", other)


def test_each_builder_and_each_commit_has_its_own():
    keys = [
        key.of_configuration("transformers", CONFIG),
        key.of_commit("remote-code", CONFIG, MODEL),
        key.of_commit("header", CONFIG, MODEL),
        key.of_commit("header", CONFIG, ModelIdentity("org/name", "b" * 40, "hub")),
        key.of_commit("header", CONFIG, ModelIdentity("org/other", "a" * 40, "hub")),
        key.of_commit("header", CONFIG, ModelIdentity("org/name", None, "catalogue")),
        key.of_commit("header", copy_of(CONFIG, further=1), MODEL),
    ]
    assert len(set(keys)) == len(keys)
    assert all(re.fullmatch("[0-9a-f]{64}", each) for each in keys)


def test_a_folders_other_files_may_change_so_what_is_read_off_them_has_no_key():
    local = ModelIdentity("folder", None, "local")
    assert key.of_commit("header", CONFIG, local) is None
    assert key.of_commit("remote-code", CONFIG, local) is None


class Installed:
    """A stand-in for the metadata of an installed package."""

    def __init__(self, found, **files):
        self._found, self._files = found, files

    def read_text(self, name):
        return self._files.get(name.replace(".", "_"))

    def locate_file(self, path):
        return self._found.locate_file(path)


@pytest.fixture
def transformers_with(monkeypatch):
    really = metadata.distribution

    def change(version=None, **files):
        found = really("transformers")
        changed = Installed(found, METADATA=f"Version: {version or found.version}", **files)
        monkeypatch.setattr(
            metadata, "distribution", lambda name: changed if name == "transformers" else really(name)
        )
        fingerprint.of_libraries.cache_clear()
        return key.of_configuration("transformers", CONFIG)

    return change


def test_another_version_of_transformers_is_another_key(transformers_with):
    assert transformers_with() == key.of_configuration("transformers", CONFIG)
    assert len({transformers_with(), transformers_with("5.22.0"), transformers_with("5.24.0")}) == 3


def test_a_version_that_did_not_come_from_an_index_is_told_by_its_files(transformers_with):
    source = '{"url": "https://github.com/huggingface/transformers", "vcs_info": {"commit_id": "1"}}'
    one = transformers_with("5.24.0.dev0", direct_url_json=source, RECORD="a.py,sha256=1,1")
    other = transformers_with("5.24.0.dev0", direct_url_json=source, RECORD="a.py,sha256=2,1")
    assert one not in {None, other}


def test_nothing_is_kept_of_a_library_that_changes_unnoticed(transformers_with):
    editable = '{"dir_info": {"editable": true}, "url": "file:///src"}'
    assert transformers_with(direct_url_json=editable) is None


def test_nothing_is_kept_of_a_library_that_is_not_the_installed_one(monkeypatch, tmp_path):
    (tmp_path / "transformers").mkdir()
    (tmp_path / "transformers" / "__init__.py").touch()
    monkeypatch.delitem(sys.modules, "transformers")
    monkeypatch.syspath_prepend(str(tmp_path))
    fingerprint.of_libraries.cache_clear()
    assert key.of_configuration("transformers", CONFIG) is None


def keys_on_a_path_with(folder, monkeypatch):
    monkeypatch.syspath_prepend(str(folder))
    look_again()
    return key.of_configuration("transformers", CONFIG), key.of_commit("remote-code", CONFIG, MODEL)


@pytest.mark.parametrize("package", ["timm", "PIL", "flash_attn", "fla"])
def test_nothing_is_kept_of_a_package_that_is_there_and_not_installed(monkeypatch, tmp_path, package):
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").touch()
    assert keys_on_a_path_with(tmp_path, monkeypatch) == (None, None)


def test_nothing_is_kept_of_a_folder_before_an_installed_package(monkeypatch, tmp_path):
    installed, before = tmp_path / "site", tmp_path / "before"
    for folder in (installed, before):
        (folder / "timm").mkdir(parents=True)
        (folder / "timm" / "__init__.py").touch()
    (installed / "timm-1.0.dist-info").mkdir()
    (installed / "timm-1.0.dist-info" / "METADATA").write_text("Name: timm\nVersion: 1.0\n")
    found = keys_on_a_path_with(installed, monkeypatch)
    assert None not in found
    assert keys_on_a_path_with(before, monkeypatch) == (None, None)


def test_code_of_a_repo_may_import_any_package_and_each_is_part_of_its_key(monkeypatch, tmp_path):
    answers = []
    for version in ("1", "2"):
        folder = tmp_path / version
        (folder / f"einops-{version}.dist-info").mkdir(parents=True)
        (folder / f"einops-{version}.dist-info" / "METADATA").write_text(
            f"Name: einops\nVersion: {version}\n"
        )
        answers.append(keys_on_a_path_with(folder, monkeypatch))
    (native, remote), (same, another) = answers
    assert native == same
    assert None not in {remote, another}
    assert remote != another


def test_what_is_left_of_a_package_that_was_taken_away_does_no_harm(monkeypatch, tmp_path):
    (tmp_path / "~inops-1.dist-info").mkdir()
    assert None not in keys_on_a_path_with(tmp_path, monkeypatch)


def test_nothing_that_a_repos_code_makes_is_kept_where_a_package_changes_unnoticed(monkeypatch, tmp_path):
    (tmp_path / "einops-1.dist-info").mkdir()
    (tmp_path / "einops-1.dist-info" / "METADATA").write_text("Name: einops\nVersion: 1\n")
    (tmp_path / "einops-1.dist-info" / "direct_url.json").write_text('{"dir_info": {"editable": true}}')
    native, remote = keys_on_a_path_with(tmp_path, monkeypatch)
    assert (native is None, remote) == (False, None)


def test_a_change_of_our_own_source_is_another_key(monkeypatch):
    before = key.of_configuration("transformers", CONFIG)
    monkeypatch.setattr(fingerprint, "of_ourselves", lambda: "another state")
    assert key.of_configuration("transformers", CONFIG) != before


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
    assert packages <= {*fingerprint.LIBRARIES, *fingerprint.OPTIONAL}
    assert len(packages) > 10


def test_every_types_configuration_has_a_key_of_its_own():
    keys = {key.of_configuration("transformers", config_of(each)) for each in TYPES}
    assert None not in keys
    assert len(keys) == len(TYPES)
