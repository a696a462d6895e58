"""How each type takes in images, videos and sounds, as its code in transformers has it."""

from functools import cache

import pytest
from msgspec.structs import replace

from tests.every_type import config_of, default_config
from vlm_inspect.anatomy.describe import describe
from vlm_inspect.builders.transformers import build
from vlm_inspect.core.model_ref import ModelIdentity
from vlm_inspect.core.module_tree import ModuleTree

PLACEHOLDERS = ("placeholders",)
DEEPSTACK = ("placeholders", "layers")
QUERIED = ("queries", "placeholders")
CROSS = ("cross-attention",)

# each read in its modeling file: the types that differ from LLaVA's one way, and some that do not
WAYS = {
    "aria": {"image": QUERIED},
    "blip": {"image": CROSS},
    "blip-2": {"image": QUERIED},
    "chameleon": {"image": ("codes", "placeholders")},
    "cosmos3_omni": {"image": DEEPSTACK, "video": DEEPSTACK},
    "deepseek_ocr2": {"image": QUERIED},
    "emu3": {"image": ("codes", "placeholders")},
    "evolla": {},
    "florence2": {"image": ("placeholders", "cross-attention")},
    "fuyu": {"image": ("patches", "placeholders")},
    "gemma4_unified": {
        "image": ("patches", "placeholders"),
        "video": ("patches", "placeholders"),
        "audio": PLACEHOLDERS,
    },
    "git": {"image": ("prefix",)},
    "granite4_vision": {"image": ("queries", "layers")},
    "granite_docling": {"image": DEEPSTACK},
    "granite_speech": {"audio": QUERIED},
    "idefics": {"image": CROSS},
    "idefics2": {"image": QUERIED},
    "instructblipvideo": {"video": QUERIED},
    "janus": {"image": PLACEHOLDERS},
    "kosmos-2": {"image": QUERIED},
    "kyutai_speech_to_text": {"audio": ("codes",)},
    "llama4": {"image": PLACEHOLDERS},
    "llava": {"image": PLACEHOLDERS},
    "mistral4": {},
    "mllama": {"image": CROSS},
    "molmo2": {"image": ("added placeholders",), "video": ("added placeholders",)},
    "nemotron_h_omni": {"image": PLACEHOLDERS, "video": PLACEHOLDERS, "audio": PLACEHOLDERS},
    "phi4_multimodal": {"image": PLACEHOLDERS, "audio": PLACEHOLDERS},
    "pi0": {"image": PLACEHOLDERS},
    "pix2struct": {"image": CROSS},
    "pp_formulanet": {"image": CROSS},
    "qwen2_5_omni": {"image": PLACEHOLDERS, "video": PLACEHOLDERS, "audio": PLACEHOLDERS},
    "qwen2_audio": {"audio": PLACEHOLDERS},
    "qwen3_vl": {"image": DEEPSTACK, "video": DEEPSTACK},
    "t5gemma2": {"image": ("placeholders", "cross-attention")},
    "udop": {"image": ("addition", "suffix", "cross-attention")},
    "video_llava": {"image": PLACEHOLDERS, "video": PLACEHOLDERS},
    "vision-encoder-decoder": {"image": CROSS},
    "voxtral_realtime": {"audio": ("addition",)},
}


@cache
def tree_of(model_type) -> ModuleTree:
    return build.build(config_of(model_type), model_type)


def described(tree):
    return describe(tree, ModelIdentity("model", source="local"), "transformers")


def entries(tree):
    return {entry.modality: entry for entry in described(tree).inputs}


@pytest.mark.parametrize("model_type", WAYS)
def test_every_odd_way_in_is_derived(model_type):
    ways = {modality: entry.steps for modality, entry in entries(tree_of(model_type)).items()}
    assert ways == WAYS[model_type]


@pytest.mark.parametrize("model_type", [name for name, ways in WAYS.items() if ways])
def test_every_step_has_its_evidence(model_type):
    for entry in entries(tree_of(model_type)).values():
        findings = {evidence.finding for evidence in entry.evidence}
        assert {f"{entry.modality}: {step}" for step in entry.steps} <= findings
        assert all(evidence.detail for evidence in entry.evidence)


def test_the_evidence_of_a_scatter_is_the_statement():
    (image,) = entries(tree_of("llava")).values()
    scatter = "inputs_embeds = inputs_embeds.masked_scatter(special_image_mask, image_features)"
    assert [(evidence.rule, evidence.detail) for evidence in image.evidence] == [
        ("code", f"LlavaModel.forward: {scatter}"),
        ("config", "image_token_index is 32000"),
    ]
    assert (image.token_key, image.token_id) == ("image_token_index", 32000)


def test_a_placeholder_that_the_configuration_leaves_out_is_unknown():
    (image,) = entries(tree_of("blip-2")).values()
    assert image.token_id is None
    assert image.unknown == {"token_id": "its code reads image_token_index, and the configuration names none"}


def test_a_published_blip_2_names_its_placeholder():
    config = {**config_of("blip-2"), "image_token_index": 50265}
    (image,) = entries(build.build(config, "blip-2")).values()
    assert (image.token_key, image.token_id, image.unknown) == ("image_token_index", 50265, {})


def test_without_code_a_way_that_only_code_tells_is_unknown():
    (image,) = entries(replace(tree_of("llava"), forward_info=())).values()
    assert image.steps == ()
    assert list(image.unknown) == ["steps"]
    assert image.token_id is None


def test_cross_attention_is_seen_without_code():
    (image,) = entries(replace(tree_of("mllama"), forward_info=())).values()
    assert image.steps == CROSS


def test_code_for_a_part_that_was_not_built_brings_nothing_in():
    deaf = build.build(default_config("nemotron_h_omni"), "deaf")
    assert not any("sound" in path or "audio" in path for path, _ in deaf.root.walk())
    assert list(entries(deaf)) == ["image", "video"]


def test_a_talkers_code_is_not_the_language_models():
    evidence = [each for entry in entries(tree_of("qwen3_omni_moe")).values() for each in entry.evidence]
    assert not any("Talker" in each.detail for each in evidence)


def test_a_text_model_has_no_entries():
    tree = build.build({"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]}, "text")
    assert described(tree).inputs == ()
    assert "inputs" not in described(tree).unknown
