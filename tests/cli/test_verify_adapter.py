"""`vlm-inspect verify` on PEFT adapters: whether their tensors target modules of the base model.

The expected results are those of PEFT 0.21 with transformers 5.23, which loaded small adapters of each kind.
"""

import json

import pytest

from tests import sparse
from tests.cli.program import call

TEXT = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 128,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
CLIP = {"model_type": "clip_vision_model", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
CLIP |= {"num_attention_heads": 2, "image_size": 28, "patch_size": 14}
LLAVA = {
    "model_type": "llava",
    "architectures": ["LlavaForConditionalGeneration"],
    "text_config": {"model_type": "llama", **TEXT},
    "vision_config": CLIP,
}
QWEN = {
    "model_type": "qwen2_5_vl",
    "architectures": ["Qwen2_5_VLForConditionalGeneration"],
    **TEXT,
    "vision_config": {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "out_hidden_size": 64,
    },
}
# only the language model's: CLIP has modules of that name too
LANGUAGE = r".*language_model.*q_proj"


@pytest.fixture(autouse=True)
def bases(tmp_path, monkeypatch):
    """A folder with configurations of a small LLaVA and a small Qwen2.5-VL, which suffice as bases."""
    monkeypatch.chdir(tmp_path)
    for name, config in (("llava", LLAVA), ("qwen", QWEN)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(config))
    return tmp_path


def lora(prefix, module="self_attn.q_proj", layers=2, rank=4, into=64, out=64):
    """The tensors of a LoRA on one module of each layer, as PEFT names them."""
    tensors = {}
    for layer in range(layers):
        place = f"base_model.model.{prefix}.layers.{layer}.{module}"
        tensors |= {f"{place}.lora_A.weight": (rank, into), f"{place}.lora_B.weight": (out, rank)}
    return tensors


def save(folder, tensors, base="./llava", targets=LANGUAGE, **config):
    folder = folder / "adapter"
    sparse.write(folder / "adapter_model.safetensors", tensors, "F32")
    fields = {
        "peft_type": "LORA",
        "r": 4,
        "target_modules": targets,
        "base_model_name_or_path": base,
        **config,
    }
    (folder / "adapter_config.json").write_text(json.dumps(fields))
    return folder


def verify(folder, *options):
    return call("verify", folder, "--format", "json", *options)


def test_an_adapter_with_the_module_names_of_its_base_loads(bases):
    answer = verify(save(bases, lora("model.language_model")))
    assert (answer.code, answer.data["verdict"]) == (0, "ok")
    assert (answer.data["tensors"], answer.data["loaded"]) == (4, 4)
    assert answer.data["components"] == [{"role": "language_model", "path": "model.language_model", "loaded": 4}]
    assert (answer.data["model"]["id"], answer.data["base"]["id"]) == ("adapter", "llava")


def test_keys_that_peft_renames_load(bases):
    answer = verify(save(bases, lora("language_model.model")))
    assert answer.code == 0
    assert answer.data["renamings"][0]["key"] == "language_model.model"
    assert answer.data["renamings"][0]["path"] == "model.language_model"


@pytest.mark.parametrize(
    ("base", "prefix"), [("./qwen", "model"), ("./llava", "language_model")], ids=["qwen", "llava"]
)
def test_keys_that_only_transformers_renames_leave_the_result_unknown(bases, base, prefix):
    answer = verify(save(bases, lora(prefix), base))
    assert answer.code == 3
    (sentence,) = answer.data["uncertain"]
    assert "load_adapter renames them" in sentence
    assert "PeftModel.from_pretrained ignores them" in sentence


def test_tensors_for_missing_modules_are_unexpected(bases):
    answer = verify(save(bases, lora("transformer"), "./qwen"))
    assert (answer.code, answer.data["loaded"]) == (1, 0)
    found = {each["kind"]: each for each in answer.data["mismatches"]}
    assert found["unexpected"]["reason"] == "the model has no such module"
    assert found["unexpected"]["key"] == "base_model.model.transformer.layers.*.self_attn.q_proj"
    assert found["missing"]["path"] == "model.language_model.layers.*.self_attn.q_proj"
    text = call("verify", bases / "adapter", "--format", "terminal").stdout
    assert "Without effect: no such target in the model" in text


def test_tensors_outside_of_target_modules_are_unexpected(bases):
    answer = verify(save(bases, lora("language_model.model"), targets=r"language_model\.model\..*q_proj"))
    assert (answer.code, answer.data["loaded"]) == (1, 0)
    assert {each["reason"] for each in answer.data["mismatches"]} == {"its target_modules does not name that module"}


def test_targets_without_tensors_are_missing(bases):
    answer = verify(save(bases, lora("model.language_model"), targets=["q_proj"]))
    assert answer.code == 1
    (misfit,) = answer.data["mismatches"]
    assert (misfit["kind"], misfit["count"], misfit["role"]) == ("missing", 4, "vision_encoder")


def test_layers_and_modules_may_be_left_out(bases):
    tensors = lora("model.language_model", layers=1)
    left_out = {"layers_to_transform": [0], "exclude_modules": r".*vision_tower.*"}
    assert verify(save(bases, tensors, targets=["q_proj"], **left_out)).code == 0
    assert verify(save(bases, tensors, targets=["q_proj"], exclude_modules=r".*vision_tower.*")).code == 1


def test_all_linear_is_every_linear_but_the_head(bases):
    answer = verify(save(bases, lora("model.language_model"), targets="all-linear"))
    paths = {each["path"] for each in answer.data["mismatches"]}
    assert "model.language_model.layers.*.mlp.up_proj" in paths
    assert "model.multi_modal_projector.linear_1" in paths
    assert not any("lm_head" in path for path in paths)


def test_a_tensor_with_a_wrong_shape_is_reported_by_name(bases):
    tensors = lora("model.language_model")
    name = "base_model.model.model.language_model.layers.1.self_attn.q_proj.lora_B.weight"
    tensors[name] = (60, 4)
    answer = verify(save(bases, tensors))
    (misfit,) = answer.data["mismatches"]
    assert (misfit["kind"], misfit["key"]) == ("mismatched", name)
    assert (misfit["stored"], misfit["expected"]) == ([60, 4], [64, 4])


def test_a_rank_other_than_the_configured_one_is_a_mismatch(bases):
    answer = verify(save(bases, lora("model.language_model", rank=8)))
    assert (answer.code, answer.data["counts"]["mismatched"]) == (1, 4)
    assert verify(save(bases, lora("model.language_model", rank=8), rank_pattern={"q_proj": 8})).code == 0


def test_the_other_half_of_a_lora_pair_is_missing(bases):
    tensors = lora("model.language_model")
    gone = next(name for name in tensors if "layers.1" in name and "lora_B" in name)
    del tensors[gone]
    answer = verify(save(bases, tensors))
    (misfit,) = answer.data["mismatches"]
    assert (misfit["kind"], misfit["reason"]) == ("missing", "lora_A is there alone")
    assert misfit["names"] == ["model.language_model.layers.1.self_attn.q_proj.lora_B"]


def test_embeddings_convolutions_biases_and_magnitudes_have_shapes_of_their_own(bases):
    table = "base_model.model.model.language_model.embed_tokens"
    patches = "base_model.model.model.vision_tower.embeddings.patch_embedding"
    head = "base_model.model.lm_head"
    tensors = {
        f"{table}.lora_embedding_A": (4, 128),
        f"{table}.lora_embedding_B": (64, 4),
        f"{patches}.lora_A.weight": (4, 3, 14, 14),
        f"{patches}.lora_B.weight": (32, 4, 1, 1),
        f"{patches}.lora_B.bias": (32,),
        f"{head}.lora_A.weight": (4, 64),
        f"{head}.lora_B.weight": (128, 4),
        f"{head}.lora_magnitude_vector.weight": (128,),
    }
    answer = verify(save(bases, tensors, targets=["embed_tokens", "patch_embedding", "lm_head"]))
    assert answer.code == 0, answer.data["mismatches"]


def test_modules_to_save_are_compared_whole(bases):
    tensors = lora("model.language_model") | {"base_model.model.lm_head.weight": (128, 64)}
    assert verify(save(bases, tensors, modules_to_save=["lm_head"])).code == 0
    tensors["base_model.model.lm_head.weight"] = (130, 64)
    answer = verify(save(bases, tensors, modules_to_save=["lm_head"]))
    (misfit,) = answer.data["mismatches"]
    assert (misfit["kind"], misfit["path"]) == ("mismatched", "lm_head.weight")


def test_shapes_of_other_methods_are_not_checked(bases):
    tensors = {f"base_model.model.model.language_model.layers.{n}.self_attn.q_proj.ia3_l": (64, 1) for n in range(2)}
    answer = verify(save(bases, tensors, peft_type="IA3"))
    assert answer.code == 3
    assert answer.data["uncertain"] == ["The shapes of IA3 tensors are not checked, only which modules they target."]


def test_prompt_tuning_targets_no_module(bases):
    answer = call("verify", save(bases, {"prompt_embeddings": (20, 64)}, peft_type="PROMPT_TUNING"))
    assert answer.code == 3
    assert "adds vectors before the tokens and changes no module" in answer.stderr


def test_a_pattern_beyond_the_time_limit_leaves_the_result_unknown(bases, monkeypatch):
    monkeypatch.setattr("vlm_inspect.verification.adapter_modules.SECONDS", 0)
    answer = verify(save(bases, lora("model.language_model"), targets=LANGUAGE))
    assert answer.code == 3
    assert "an invalid pattern, or takes too long to match" in answer.data["uncertain"][0]


@pytest.mark.parametrize(
    "odd",
    [
        {"targets": 7},
        {"targets": [["q_proj"]]},
        {"targets": "("},
        {"targets": ["q_proj"], "layers_to_transform": 1.5},
        {"targets": ["q_proj"], "exclude_modules": 3},
        {"peft_type": ["LORA"]},
        {"r": "four"},
        {"r": -1},
        {"revision": 3},
    ],
    ids=str,
)
def test_an_odd_configuration_is_not_an_internal_error(bases, odd):
    assert call("verify", save(bases, lora("model.language_model"), **odd)).code in {0, 1, 3}


# --- its base


def test_base_replaces_the_configured_base(bases):
    folder = save(bases, lora("model.language_model"), base="nowhere/nothing", targets=["q_proj"])
    assert verify(folder, "--base", "./qwen").data["base"]["id"] == "qwen"
    assert verify(folder, "--base", "./qwen").code == 0


@pytest.mark.parametrize("base", [None, "", "/home/someone/models/llava"])
def test_an_unavailable_base_must_be_given(bases, base):
    answer = call("verify", save(bases, lora("model.language_model"), base=base))
    assert answer.code == 3
    assert answer.stdout == ""


def test_base_is_for_adapters(bases):
    answer = call("verify", bases / "llava", "--base", "./qwen")
    assert answer.code == 3
    assert "has no adapter_config.json, and --base is for adapters" in answer.stderr


def test_an_adapter_that_is_a_pickle_is_not_opened(bases):
    folder = save(bases, lora("model.language_model"))
    (folder / "adapter_model.safetensors").unlink()
    (folder / "adapter_model.bin").write_bytes(b"")
    answer = call("verify", folder)
    assert answer.code == 3
    assert "adapter_model.bin, a pickle, which is never opened" in answer.stderr


# --- on the Hub


def test_an_adapter_on_the_hub_is_verified_with_its_base(hub, bases):
    folder = save(bases, lora("model.language_model"), base="org/llava")
    commit = hub.add_model("org/adapter", {path.name: path for path in folder.iterdir()})
    base = hub.add_model("org/llava", {"config.json": json.dumps(LLAVA)})
    cache = ("--cache-dir", bases / "cache")
    answer = verify("org/adapter", *cache)
    assert answer.code == 0
    assert (answer.data["model"]["revision"], answer.data["base"]["revision"]) == (commit, base)
    hub.requests.clear()
    assert verify("org/adapter", "--offline", *cache).data == answer.data
    assert hub.requests == []


def test_a_busy_hub_is_retried(hub, bases):
    folder = save(bases, lora("model.language_model"), base="org/llava")
    hub.add_model("org/adapter", {path.name: path for path in folder.iterdir()})
    hub.add_model("org/llava", {"config.json": json.dumps(LLAVA)})
    hub.fault("adapter_config.json", method="HEAD", times=1, status=503, headers={"Retry-After": "0"})
    assert verify("org/adapter", "--cache-dir", bases / "cache").code == 0


def test_an_adapter_on_the_hub_opens_no_local_path(hub, bases):
    folder = save(bases, lora("model.language_model"), base=str(bases / "llava"))
    hub.add_model("org/adapter", {path.name: path for path in folder.iterdir()})
    answer = call("verify", "org/adapter", "--cache-dir", bases / "cache")
    assert answer.code == 3
    assert "of another machine" in answer.stderr


def test_an_error_names_the_damaged_adapter_config(bases):
    folder = save(bases, lora("model.language_model"))
    (folder / "adapter_config.json").write_text("{")
    answer = call("verify", folder)
    assert answer.code == 3
    assert "adapter_config.json is not JSON" in answer.stderr
