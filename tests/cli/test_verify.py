"""`vlm-inspect verify` on checkpoints: the installed program, real headers, transformers' own loader."""

import json
import os

import pytest

from tests import checkpoints, sparse
from tests.cli.program import NO_HUB, call, run
from tests.every_type import default_config, small
from tests.published import GEMMA_3_4B, LLAMA_3_2_11B_VISION, QWEN2_5_VL_7B

LLAVA = {"model_type": "llava", "architectures": ["LlavaForConditionalGeneration"]}
LLAVA_2024 = {
    "model.language_model.": "language_model.model.",
    "lm_head.": "language_model.lm_head.",
    "model.vision_tower.": "vision_tower.vision_model.",
    "model.multi_modal_projector.": "multi_modal_projector.",
}
QWEN_2024 = {"model.visual.": "visual.", "model.language_model.": "model."}
OLD_LAYOUTS = {
    "llava": LLAVA_2024,
    "llava_next": {**LLAVA_2024, "model.image_newline": "image_newline"},
    "vipllava": LLAVA_2024,
    "paligemma": LLAVA_2024,
    "gemma3": LLAVA_2024,
    "qwen2_vl": QWEN_2024,
    "qwen2_5_vl": QWEN_2024,
    "mistral3": {**LLAVA_2024, "model.vision_tower.": "vision_tower."},
    "internvl": {**LLAVA_2024, "model.vision_tower.": "vision_tower."},
    "mllama": {**LLAVA_2024, "model.vision_model.": "vision_model."},
    "fuyu": {**LLAVA_2024, "model.vision_embed_tokens.": "vision_embed_tokens."},
}
PUBLISHED = {"qwen2_5_vl": QWEN2_5_VL_7B, "gemma3": GEMMA_3_4B, "mllama": LLAMA_3_2_11B_VISION}
UNCHANGED = ["idefics2", "idefics3", "blip-2", "florence2", "glm4v", "qwen3_vl_moe", "pix2struct", "kosmos-2"]


def config_of(model_type):
    """A published configuration, or the defaults of the class with two layers in each stack."""
    return PUBLISHED.get(model_type) or json.loads(json.dumps(small(default_config(model_type))))


def verify(folder, *options):
    answer = call("verify", folder, "--format", "json", *options)
    assert answer.data["verdict"] == {0: "ok", 1: "mismatch", 3: "unknown"}[answer.code]
    return answer


@pytest.fixture(scope="module")
def llava_2024():
    return checkpoints.renamed(checkpoints.tensors_of(LLAVA), LLAVA_2024)


# --- checkpoints that load


@pytest.mark.parametrize("model_type", [*OLD_LAYOUTS, *UNCHANGED])
def test_a_native_checkpoint_loads(tmp_path, model_type):
    folder = checkpoints.save(tmp_path / "m", config_of(model_type), shards=3)
    answer = verify(folder)
    assert answer.code == 0, answer.data["mismatches"]
    tensors = checkpoints.tensors_of(config_of(model_type))
    assert (answer.data["tensors"], answer.data["loaded"]) == (len(tensors), len(tensors))
    assert sum(part["expected"] for part in answer.data["components"]) == len(tensors)
    assert "renamings" not in answer.data


@pytest.mark.parametrize("model_type", OLD_LAYOUTS)
def test_a_checkpoint_with_key_names_of_2024_loads(tmp_path, model_type):
    config = config_of(model_type)
    old = checkpoints.renamed(checkpoints.tensors_of(config), OLD_LAYOUTS[model_type])
    answer = verify(checkpoints.save(tmp_path / "m", config, old))
    assert answer.code == 0, answer.data["mismatches"]
    assert answer.data["loaded"] == len(old)
    assert sum(each["count"] for each in answer.data["renamings"]) == len(old.keys() - checkpoints.tensors_of(config))


def test_renamed_keys_are_shown_with_both_names(tmp_path, llava_2024):
    answer = verify(checkpoints.save(tmp_path / "m", LLAVA, llava_2024))
    assert [(each["key"], each["path"], each["count"]) for each in answer.data["renamings"]] == [
        ("vision_tower.vision_model", "model.vision_tower", 391),
        ("language_model.model", "model.language_model", 290),
        ("multi_modal_projector", "model.multi_modal_projector", 4),
        ("language_model.lm_head", "lm_head", 1),
    ]


def test_a_tied_head_is_not_missing(tmp_path):
    tensors = checkpoints.tensors_of(GEMMA_3_4B)
    assert "lm_head.weight" not in tensors
    answer = verify(checkpoints.save(tmp_path / "m", GEMMA_3_4B, tensors))
    assert (answer.code, answer.data["counts"]["missing"]) == (0, 0)
    assert "lm_head" not in {part["role"] for part in answer.data["components"]}


def test_buffers_of_older_checkpoints_are_ignored(tmp_path, llava_2024):
    buffers = {f"language_model.model.layers.{n}.self_attn.rotary_emb.inv_freq": (64,) for n in range(32)}
    buffers["vision_tower.vision_model.embeddings.position_ids"] = ("I64", (1, 577))
    answer = verify(checkpoints.save(tmp_path / "m", LLAVA, {**llava_2024, **buffers}))
    assert (answer.code, answer.data["ignored"], answer.data["loaded"]) == (0, 33, 686)


def experts(count=4):
    """A small mixture of experts, whose checkpoint holds them one by one."""
    text = {"model_type": "qwen3_5_moe_text", "num_hidden_layers": 2, "num_experts": count, "hidden_size": 64}
    text |= {"moe_intermediate_size": 32, "shared_expert_intermediate_size": 32, "vocab_size": 500}
    vision = {"depth": 1, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 64}
    config = {"model_type": "qwen3_5_moe", "architectures": ["Qwen3_5MoeForConditionalGeneration"]}
    config |= {"text_config": text, "vision_config": vision}
    tensors = {}
    for path, shape in checkpoints.tensors_of(config).items():
        place = path.rpartition(".")[0]
        if path.endswith("experts.gate_up_proj"):
            for number in range(count):
                for name in ("gate_proj", "up_proj"):
                    tensors[f"{place}.{number}.{name}.weight"] = (shape[1] // 2, shape[2])
        elif path.endswith("experts.down_proj"):
            tensors |= {f"{place}.{number}.down_proj.weight": shape[1:] for number in range(count)}
        else:
            tensors[path] = shape
    return config, tensors


def test_separate_experts_are_merged(tmp_path):
    config, tensors = experts()
    answer = verify(checkpoints.save(tmp_path / "m", config, tensors))
    assert answer.code == 0, answer.data["mismatches"]
    converted = {each["key"] for each in answer.data["renamings"] if each["is_converted"]}
    assert any(key.endswith("experts.*.gate_proj.weight") for key in converted)


def test_experts_of_different_shapes_cannot_be_merged(tmp_path):
    config, tensors = experts()
    tensors[next(name for name in tensors if "layers.1.mlp.experts.3.down_proj" in name)] = (64, 31)
    answer = verify(checkpoints.save(tmp_path / "m", config, tensors))
    (misfit,) = answer.data["mismatches"]
    assert (misfit["kind"], misfit["reason"]) == ("mismatched", "its 4 tensors cannot be merged")


# --- mismatches


def damaged(tensors, prefix="language_model.model"):
    """One tensor missing, one too many, one of a wrong shape."""
    changed = dict(tensors)
    del changed[f"{prefix}.layers.7.mlp.up_proj.weight"]
    changed[f"{prefix}.layers.3.self_attn.q_proj.weight"] = (4096, 4000)
    changed["talker.weight"] = (3, 4)
    return changed


@pytest.fixture
def broken(tmp_path, llava_2024):
    return checkpoints.save(tmp_path / "broken", LLAVA, damaged(llava_2024), shards=4)


def test_each_mismatch_is_reported_by_name(broken):
    answer = verify(broken)
    assert answer.code == 1
    assert answer.data["counts"] == {"missing": 1, "unexpected": 1, "mismatched": 1}
    found = {each["kind"]: each for each in answer.data["mismatches"]}
    assert found["missing"]["names"] == ["model.language_model.layers.7.mlp.up_proj.weight"]
    assert found["missing"]["key"] == "language_model.model.layers.7.mlp.up_proj.weight"
    assert found["missing"]["role"] == "language_model"
    assert found["unexpected"]["names"] == ["talker.weight"]
    assert found["mismatched"]["names"] == ["model.language_model.layers.3.self_attn.q_proj.weight"]
    assert (found["mismatched"]["stored"], found["mismatched"]["expected"]) == ([4096, 4000], [4096, 4096])
    assert (answer.data["tensors"], answer.data["loaded"]) == (686, 684)


@pytest.mark.parametrize("form", ["terminal", "markdown", "json"])
def test_every_format_names_the_three(broken, form):
    text = call("verify", broken, "--format", form).stdout
    for name in ("layers.7.mlp.up_proj.weight", "layers.3.self_attn.q_proj.weight", "talker.weight"):
        assert name in text


def test_a_tensor_that_is_missing_in_all_layers_is_one_line(tmp_path, llava_2024):
    tensors = {name: shape for name, shape in llava_2024.items() if "q_proj" not in name}
    answer = verify(checkpoints.save(tmp_path / "m", LLAVA, tensors))
    language = next(each for each in answer.data["mismatches"] if each["role"] == "language_model")
    assert (language["path"], language["count"]) == (
        "model.language_model.layers.*.self_attn.q_proj.weight",
        32,
    )
    text = call("verify", tmp_path / "m", "--format", "terminal").stdout
    assert "32 tensors, each 4096 x 4096; layers 0-31" in text


def test_a_missing_tower_is_one_line(tmp_path, llava_2024):
    tensors = {name: shape for name, shape in llava_2024.items() if "vision_tower" not in name}
    answer = verify(checkpoints.save(tmp_path / "m", LLAVA, tensors))
    (misfit,) = answer.data["mismatches"]
    assert (misfit["path"], misfit["count"], misfit["parameters"]) == ("model.vision_tower", 391, 303_507_456)
    assert misfit["is_module"] is True


def test_an_untied_head_without_a_tensor_is_missing(tmp_path):
    tensors = checkpoints.tensors_of(QWEN2_5_VL_7B)
    del tensors["lm_head.weight"]
    answer = verify(checkpoints.save(tmp_path / "m", QWEN2_5_VL_7B, tensors))
    assert [each["path"] for each in answer.data["mismatches"]] == ["lm_head.weight"]


def test_a_config_with_other_sizes_is_a_mismatch(tmp_path, llava_2024):
    config = {**LLAVA, "text_config": {"model_type": "llama", "num_hidden_layers": 40, "hidden_size": 5120}}
    answer = verify(checkpoints.save(tmp_path / "m", config, llava_2024))
    assert answer.code == 1
    assert answer.data["counts"]["mismatched"] > 100
    assert any(each["path"] == "model.language_model.layers.*" for each in answer.data["mismatches"])


def test_an_unfinished_download_names_the_missing_files(tmp_path, llava_2024):
    folder = checkpoints.save(tmp_path / "m", LLAVA, llava_2024, shards=4)
    (folder / "model-00002-of-00004.safetensors").unlink()
    os.truncate(folder / "model-00003-of-00004.safetensors", 10**8)
    answer = verify(folder)
    assert answer.code == 1
    files = answer.data["missing_files"]
    assert list(files) == ["model-00002-of-00004.safetensors", "model-00003-of-00004.safetensors"]
    assert answer.data["counts"] == {"missing": sum(files.values()), "unexpected": 0, "mismatched": 0}
    assert {each["reason"].partition(" ")[2] for each in answer.data["mismatches"]} == {
        "is not there",
        "ends too early",
    }


# --- unknown results


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "quantised (gptq)"),
        ({"text_config": {"quantization_config": {"quant_method": "fp8"}}}, "quantised (fp8)"),
        ({"quantization": {"group_size": 64, "bits": 8}}, "quantised (MLX)"),
    ],
)
def test_packed_weights_cannot_be_verified(tmp_path, stored, message):
    folder = checkpoints.save(tmp_path / "m", {**LLAVA, **stored}, {"a.qweight": ("I32", (4, 4))})
    answer = call("verify", folder)
    assert answer.code == 3
    assert message in answer.stderr
    assert answer.stdout == ""


NO_CONFIGURATION = {
    "fp8": {"a.weight": ("F8_E4M3", (4, 4))},
    "fp8 in one file": {
        "scaled_fp8": ("F8_E4M3", (2,)),
        "a.weight": ("F8_E4M3", (4, 4)),
        "a.scale_weight": ("F32", (1,)),
    },
    "gptq": {"a.qweight": ("I32", (4, 4)), "a.scales": ("F16", (1, 4))},
    "nf4": {"a.weight": ("U8", (8, 1)), "a.weight.absmax": ("F32", (1,))},
    "int8": {"a.weight": ("I8", (4, 4)), "a.SCB": ("F32", (4,))},
}


@pytest.mark.parametrize("tensors", NO_CONFIGURATION.values(), ids=NO_CONFIGURATION)
def test_quantised_weights_without_a_configuration_cannot_be_verified(tmp_path, tensors):
    folder = checkpoints.save(tmp_path / "m", LLAVA, {"a.bias": (4,), **tensors})
    answer = call("verify", folder)
    assert answer.code == 3
    assert "1 of its weights are stored quantised" in answer.stderr
    assert "no quantization_config" in answer.stderr
    assert answer.stdout == ""


@pytest.mark.slow
def test_repository_code_is_not_run(tmp_path):
    config = {
        "model_type": "odd",
        "architectures": ["OddVLM"],
        "auto_map": {"AutoModel": "modeling_odd.OddVLM"},
    }
    folder = checkpoints.save(tmp_path / "m", config, {"a.weight": (2, 2)})
    canary = tmp_path / "canary"
    (folder / "modeling_odd.py").write_text(f"open({str(canary)!r}, 'w')")
    answer = run("verify", folder, cwd=folder)
    assert answer.code == 3
    assert "code of its own repo" in answer.stderr
    assert not canary.exists()


def test_pickles_cannot_be_verified(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(LLAVA))
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    answer = call("verify", tmp_path)
    assert answer.code == 3
    assert "a pickle, which is never opened" in answer.stderr


def test_a_snapshot_file_holds_no_tensors(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text(json.dumps(LLAVA))
    assert call("snapshot", "./m").code == 0
    (file,) = (tmp_path / "snapshots").glob("*.json")
    answer = call("verify", file)
    assert answer.code == 3
    assert "is a snapshot file, which has no tensors" in answer.stderr


@pytest.mark.slow
def test_a_damaged_header_is_an_error_and_no_traceback(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(LLAVA))
    (tmp_path / "model.safetensors").write_bytes((2**63).to_bytes(8, "little"))
    answer = run("verify", tmp_path, cwd=tmp_path)
    assert answer.code == 3
    assert "9,223,372,036,854,775,808 bytes" in answer.stderr


# --- the Hub


@pytest.mark.slow
def test_a_model_on_the_hub_is_verified_by_its_headers(hub, tmp_path, llava_2024):
    folder = checkpoints.save(tmp_path / "m", LLAVA, damaged(llava_2024), shards=4)
    size = sum(map(sparse.header_bytes, folder.glob("*.safetensors")))
    hub.add_model("org/m", {path.name: path for path in folder.iterdir()})
    home = {"cwd": tmp_path, "HF_HOME": str(tmp_path / "home")}

    answer = run("verify", "org/m", "--format", "json", **home)

    assert answer.code == 1
    assert answer.data["counts"] == {"missing": 1, "unexpected": 1, "mismatched": 1}
    fetched = [request for request in hub.requests if request.path.endswith(".safetensors")]
    assert sum(request.body_bytes for request in fetched) <= 1.1 * size
    assert len(hub.requests) <= 2 * 4 + 3

    again = run("verify", "org/m", "--offline", "--format", "json", **{**home, "HF_ENDPOINT": NO_HUB})
    assert (again.code, again.data) == (1, answer.data)


def test_a_local_folder_needs_no_request(hub, tmp_path):
    folder = checkpoints.save(tmp_path / "m", config_of("qwen2_5_omni"))
    assert verify(folder).code == 0
    assert hub.requests == []


def test_a_config_key_that_the_class_ignores_is_a_note(tmp_path):
    config = {**LLAVA, "text_config": {"model_type": "llama", "num_nextn_predict_layers": 1}}
    answer = verify(checkpoints.save(tmp_path / "m", config, checkpoints.tensors_of(LLAVA)))
    shown = call("show", tmp_path / "m", "--format", "json")
    assert shown.data["notes"]
    assert answer.data["notes"] == shown.data["notes"]
