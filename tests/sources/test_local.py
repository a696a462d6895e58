"""Local paths: a folder with a config.json, a config.json, and invalid paths."""

import pytest

from vlm_inspect.core.errors import ConfigMissingError, InvalidConfigError
from vlm_inspect.core.model_ref import ModelIdentity, ModelRef
from vlm_inspect.sources import load


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "my-model").mkdir()
    (tmp_path / "my-model" / "config.json").write_text('{"model_type": "llava"}')
    return tmp_path / "my-model"


def test_folder_is_read(folder):
    checkpoint = load(ModelRef.parse(str(folder)))

    assert checkpoint.config == {"model_type": "llava"}
    assert checkpoint.identity == ModelIdentity(id="my-model", revision=None, source="local")
    assert checkpoint.notes == ()


def test_config_json_is_named_after_its_folder(folder):
    assert load(ModelRef.parse(str(folder / "config.json"))).identity.id == "my-model"


def test_other_file_is_named_after_itself(folder):
    (folder / "config.json").rename(folder / "draft.json")

    assert load(ModelRef.parse(str(folder / "draft.json"))).identity.id == "draft"


@pytest.mark.parametrize("typed", [".", "./", "../my-model", "config.json"])
def test_spelling_of_the_path_does_not_change_the_record(folder, monkeypatch, typed):
    monkeypatch.chdir(folder)

    assert load(ModelRef.parse(typed)).identity.id == "my-model"


def test_missing_path_is_an_error_with_a_hint(tmp_path):
    with pytest.raises(ConfigMissingError, match="there is no such file or folder") as caught:
        load(ModelRef.parse(str(tmp_path / "nothing")))

    assert "org/name" in caught.value.hint


def test_folder_without_a_config_is_an_error(tmp_path):
    with pytest.raises(ConfigMissingError, match=r"the folder has no config\.json"):
        load(ModelRef.parse(str(tmp_path)))


def test_too_long_name_is_an_error():
    with pytest.raises(ConfigMissingError):
        load(ModelRef.parse("./" + "x" * 5000))


def test_error_has_the_path_as_it_was_typed(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    (folder / "config.json").write_text("")

    with pytest.raises(InvalidConfigError, match=r"^\./my-model: the config\.json is empty"):
        load(ModelRef.parse("./my-model"))
