"""Errors for what has no config.json: each names what is there instead, and what to type."""

import json

import pytest

import vlm_inspect
from tests.sparse import write
from vlm_inspect.core.errors import ConfigMissingError, HubUnavailableError, ModelNotFoundError

ADAPTER = {"peft_type": "LORA", "base_model_name_or_path": "llava-hf/llava-1.5-7b-hf"}
INSTEAD = {
    "adapter": (["adapter_config.json"], "is a PEFT adapter", "vlm-inspect show llava-hf/llava-1.5-7b-hf"),
    "pipeline": (["model_index.json", "text_encoder/config.json"], "is a diffusers pipeline", "text_encoder"),
    "gguf": (["README.md", "model-Q4_K_M.gguf", "mmproj-model-f16.gguf"], "holds GGUF files", "the original model"),
    "mistral": (["params.json", "consolidated.safetensors"], "holds Mistral's own format", "the original model"),
    "open_clip": (["open_clip_config.json", "open_clip_model.safetensors"], "holds an OpenCLIP model", "the original"),
    "onnx": (["model.onnx"], "holds ONNX files", "the original model"),
    "openvino": (["openvino_model.xml", "openvino_model.bin"], "holds an OpenVINO model", "the original model"),
}


@pytest.mark.parametrize(("files", "what", "hint"), INSTEAD.values(), ids=INSTEAD)
def test_a_repo_of_another_format_is_recognized(hub, files, what, hint):
    hub.add_model("org/name", {name: json.dumps(ADAPTER).encode() for name in files})
    with pytest.raises(ConfigMissingError) as caught:
        vlm_inspect.inspect("org/name")
    assert caught.value.message.startswith(f"org/name {what}")
    assert "has no config.json" in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(("files", "what", "hint"), INSTEAD.values(), ids=INSTEAD)
def test_a_folder_of_another_format_is_recognized(tmp_path, files, what, hint):
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(ADAPTER))
    with pytest.raises(ConfigMissingError) as caught:
        vlm_inspect.inspect(str(tmp_path))
    assert caught.value.message.startswith(f"{tmp_path} {what}")
    assert hint in caught.value.hint


def test_a_repo_of_nothing_known_has_the_plain_error(hub):
    hub.add_model("org/name", {"README.md": b""})
    with pytest.raises(ConfigMissingError, match=r"org/name has no config\.json"):
        vlm_inspect.inspect("org/name")


def test_a_gguf_file_is_recognized(tmp_path):
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    with pytest.raises(ConfigMissingError, match="is a GGUF file"):
        vlm_inspect.inspect(str(tmp_path / "x.gguf"))


def test_a_timm_configuration_is_recognized(tmp_path):
    (tmp_path / "config.json").write_text('{"architecture": "vit_base_patch16_224", "pretrained_cfg": {}}')
    with pytest.raises(vlm_inspect.VlmInspectError, match="timm's, of the architecture 'vit_base_patch16_224'"):
        vlm_inspect.inspect(str(tmp_path))


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("typed", ["llava-hf/llava-1.5-7b", "llava-1.5-7b-hf", "LLaVA-hf/LLaVA-1.5-7B"])
def test_a_similar_name_is_suggested(typed):
    with pytest.raises(ModelNotFoundError) as online:
        vlm_inspect.inspect(typed)
    with pytest.raises(HubUnavailableError) as offline:
        vlm_inspect.inspect(typed, offline=True)
    for error in (online.value, offline.value):
        assert error.hint.startswith("Did you mean llava-hf/llava-1.5-7b-hf? ")


def test_a_known_name_gets_no_other_name_as_a_suggestion():
    with pytest.raises(HubUnavailableError, match="at revision main") as caught:
        vlm_inspect.inspect("llava-hf/llava-1.5-7b-hf", revision="main", offline=True)
    assert caught.value.hint.startswith("The built-in catalogue has it without a revision: vlm-inspect show llava-hf/")
    assert "Did you mean" not in caught.value.hint


def test_a_similar_name_in_the_cache_is_suggested(hub, tmp_path):
    hub.add_model("some-team/odd-model", {"config.json": {"model_type": "llava"}})
    vlm_inspect.inspect("some-team/odd-model", cache_dir=tmp_path, builder="config")
    with pytest.raises(ModelNotFoundError, match="some-team/odd-modle") as caught:
        vlm_inspect.inspect("some-team/odd-modle", cache_dir=tmp_path)
    assert "Did you mean some-team/odd-model?" in caught.value.hint


@pytest.mark.usefixtures("hub")
def test_another_name_gets_no_suggestion():
    with pytest.raises(ModelNotFoundError) as caught:
        vlm_inspect.inspect("nothing/like-it")
    assert "Did you mean" not in caught.value.hint


def test_a_safetensors_file_is_a_model(tmp_path):
    shapes = {"model.embed_tokens.weight": [100, 8], "lm_head.weight": [100, 8], "model.norm.weight": [8]}
    write(tmp_path / "other.safetensors", shapes)
    record = vlm_inspect.inspect(str(tmp_path / "other.safetensors"))
    assert record.model.id == "other"
    assert record.builder == "header"
    assert record.parameters.total == 1608
    write(tmp_path / "model.safetensors", {"model.norm.weight": [8]})
    assert vlm_inspect.inspect(str(tmp_path / "other.safetensors")).parameters.total == 1608
    assert vlm_inspect.inspect(str(tmp_path / "model.safetensors")).model.id == tmp_path.name
