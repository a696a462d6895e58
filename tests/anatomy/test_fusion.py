"""The fusion of images, videos and audio into the text, for all types with an unusual one."""

import pytest
from msgspec.structs import replace

from tests.every_type import config_of, default_config
from tests.every_type.answers import tree_of
from vlm_inspect.anatomy.describe import describe
from vlm_inspect.builders.transformers import build
from vlm_inspect.core.model_ref import ModelIdentity

PLACEHOLDERS = ("placeholders",)
DEEPSTACK = ("placeholders", "layers")
QUERIED = ("queries", "placeholders")
CROSS = ("cross-attention",)

# modality → fusion steps, each checked by hand in its modeling file
STEPS = {
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


def described(tree):
    return describe(tree, ModelIdentity("model", source="local"), "transformers")


def inputs(tree):
    return {taken.modality: taken for taken in described(tree).inputs}


@pytest.mark.parametrize("model_type", STEPS)
def test_the_fusion_steps_of_a_type(model_type):
    steps = {modality: taken.steps for modality, taken in inputs(tree_of(model_type)).items()}
    assert steps == STEPS[model_type]


@pytest.mark.parametrize("model_type", [name for name, steps in STEPS.items() if steps])
def test_every_step_has_its_evidence(model_type):
    for taken in inputs(tree_of(model_type)).values():
        findings = {evidence.finding for evidence in taken.evidence}
        assert {f"{taken.modality}: {step}" for step in taken.steps} <= findings
        assert all(evidence.detail for evidence in taken.evidence)


def test_the_evidence_of_a_scatter_is_the_statement():
    (image,) = inputs(tree_of("llava")).values()
    scatter = "inputs_embeds = inputs_embeds.masked_scatter(special_image_mask, image_features)"
    assert [(evidence.rule, evidence.detail) for evidence in image.evidence] == [
        ("code", f"LlavaModel.forward: {scatter}"),
        ("config", "image_token_index is 32000"),
    ]
    assert (image.token_key, image.token_id) == ("image_token_index", 32000)


def test_a_placeholder_without_a_token_in_the_configuration_is_unknown():
    (image,) = inputs(tree_of("blip-2")).values()
    assert image.token_id is None
    assert image.unknown == {"token_id": "the source reads image_token_index, which the configuration does not set"}


def test_a_placeholder_with_a_token_in_the_configuration_is_found():
    config = {**config_of("blip-2"), "image_token_index": 50265}
    (image,) = inputs(build.build(config, "blip-2")).values()
    assert (image.token_key, image.token_id, image.unknown) == ("image_token_index", 50265, {})


def test_placeholders_are_unknown_without_the_source():
    (image,) = inputs(replace(tree_of("llava"), forward_info=())).values()
    assert image.steps == ()
    assert list(image.unknown) == ["steps"]
    assert image.token_id is None


def test_cross_attention_is_found_without_the_source():
    (image,) = inputs(replace(tree_of("mllama"), forward_info=())).values()
    assert image.steps == CROSS


def test_source_for_a_part_that_was_not_built_adds_no_input():
    tree = build.build(default_config("nemotron_h_omni"), "without-audio")
    assert not any("sound" in path or "audio" in path for path, _ in tree.root.walk())
    assert list(inputs(tree)) == ["image", "video"]


def test_the_source_of_a_talker_adds_no_evidence():
    evidence = [each for taken in inputs(tree_of("qwen3_omni_moe")).values() for each in taken.evidence]
    assert not any("Talker" in each.detail for each in evidence)


def test_a_text_model_has_no_inputs():
    tree = build.build({"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]}, "text")
    assert described(tree).inputs == ()
    assert "inputs" not in described(tree).unknown
