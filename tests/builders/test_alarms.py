"""Alarms: keys that state a structure which was not built. None where the built model is the stated one."""

import json

import pytest
from msgspec.structs import replace

from tests.every_type import TYPES
from tests.every_type.answers import tree_of
from tests.published import LLAVA_ORIGINAL_7B, QWEN3_OMNI
from vlm_inspect.anatomy.describe import describe
from vlm_inspect.builders.transformers import build, key_words
from vlm_inspect.core.model_ref import ModelIdentity
from vlm_inspect.render import render
from vlm_inspect.render.card import build_card, card_tables

LLAMA = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 1000,
}
SMALL_VISION = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4}
IDEFICS3 = {"architectures": ["Idefics3ForConditionalGeneration"], "model_type": "idefics3"}
VIT_L = {"hidden_size": 1024, "num_attention_heads": 16}
QWEN3_VL = {
    "architectures": ["Qwen3VLForConditionalGeneration"],
    "model_type": "qwen3_vl",
    "text_config": {"num_hidden_layers": 2},
}


def alarms(config):
    keys = build.build(json.loads(json.dumps(config)), "org/name").unused_config_keys
    return {key.path: key.built_instead for key in keys if key.structural}


def idefics3(text=None, vision=None, **keys):
    return {
        **IDEFICS3,
        "text_config": {**LLAMA, **(text or {})},
        "vision_config": {**SMALL_VISION, **(vision or {})},
        **keys,
    }


@pytest.mark.parametrize("model_type", TYPES)
def test_no_class_ignores_a_structural_key_of_its_own_configuration(model_type):
    assert not [key for key in tree_of(model_type).unused_config_keys if key.structural]


@pytest.mark.parametrize(("speaks", "total"), [(True, 35_259_818_545), (False, 31_719_205_488)])
def test_a_checkpoint_that_is_built_to_the_last_parameter_raises_no_alarm(speaks, total):
    config = {**QWEN3_OMNI, "enable_audio_output": speaks}
    tree = build.build(config, "org/name")
    assert tree.total == total
    assert {key.path for key in tree.unused_config_keys} >= {"thinker_config.vision_config.image_size"}
    assert not [key for key in tree.unused_config_keys if key.structural]


def test_no_fact_comes_from_an_unused_key():
    config = {
        "architectures": ["Qwen3OmniMoeForConditionalGeneration"],
        "model_type": "qwen3_omni_moe",
        "enable_audio_output": False,
        "thinker_config": {"vision_config": {"image_size": 768}},
    }
    tree = build.build(config, "org/name")
    record = describe(tree, ModelIdentity("org/name"), "transformers")
    assert [part.image for part in record.components] == [None] * len(record.components)
    text = render(card_tables(build_card(replace(record, unused_config_keys=()))), "markdown")
    assert "768 x 768" not in text
    assert "16-768" not in text


@pytest.mark.parametrize(
    ("config", "part", "key"),
    [
        (idefics3(text={"n_layer": 2}), "text_config", "n_layer"),
        (idefics3(vision={"img_size": 448}), "vision_config", "img_size"),
        (idefics3(vision_feature_layer=[1, 2]), "", "vision_feature_layer"),
        (idefics3(my_part={"layers": 7}), "", "my_part"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_unused_key_is_in_no_configuration_of_the_tree(config, part, key):
    tree = build.build(config, "org/name")
    assert key not in (tree.config[part] if part else tree.config)
    assert not any(key in each for each in tree.configs.values())


def test_a_quantization_is_read_though_no_class_uses_it():
    quantization = {"quant_method": "gptq", "bits": 4, "group_size": 128}
    tree = build.build(idefics3(quantization_config=quantization), "org/name")
    assert tree.config["quantization_config"] == quantization


SWITCHED_OFF = {
    "false next to the section": {"use_resampler": False, "perceiver_config": {"resampler_depth": 6}},
    "false inside the section": {"perceiver_config": {"use_resampler": False, "resampler_depth": 6}},
    "enable": {"enable_resampler": False, "resampler_depth": 6},
    "a count of zero": {"num_experts": 0, "moe_intermediate_size": 77},
    "a count of routed experts": {"n_routed_experts": 0, "moe_intermediate_size": 77},
    "an absent count": {"num_local_experts": None, "moe_intermediate_size": 77},
    "no layers": {"moe_layers": [], "moe_intermediate_size": 77, "num_experts": 8},
    "a mixture": {"use_moe": False, "num_experts": 8},
    "queries": {"num_query_tokens": 0, "query_tokens_size": 77},
    "the keys next to it name the part": {"use_pooler": False, "connector": {"pooler_size": 7, "projector_depth": 7}},
    "disable": {"disable_resampler": True, "resampler_depth": 6},
    "without": {"perceiver_config": {"without_resampler": True, "resampler_depth": 6}},
    "an absent section": {"qformer_config": None, "qformer_hidden_size": 77},
}
SWITCHED_ON = {
    "true": {"use_resampler": True, "perceiver_config": {"resampler_depth": 6}},
    "another part is off": {"use_adapter": False, "perceiver_config": {"resampler_depth": 6}},
    "a count": {"num_experts": 8},
    "not disabled": {"disable_resampler": False, "resampler_depth": 6},
    "no attention dropout": {"attention_dropout": 0.0, "n_head": 2},
    "no decoder": {"is_decoder": False, "use_cache": False, "n_layer": 7},
}


@pytest.mark.parametrize("keys", SWITCHED_OFF.values(), ids=SWITCHED_OFF)
def test_what_is_left_of_a_part_that_is_switched_off_raises_no_alarm(keys):
    assert alarms(idefics3(text=keys)) == {}


@pytest.mark.parametrize("keys", SWITCHED_ON.values(), ids=SWITCHED_ON)
def test_a_part_that_is_not_switched_off_raises_one(keys):
    assert len(alarms(idefics3(text=keys))) == 1


def test_a_published_layout_with_a_resampler_that_is_off_raises_no_alarm():
    # SmolVLM-256M
    perceiver = {"resampler_depth": 6, "resampler_head_dim": 96, "resampler_n_heads": 16, "resampler_n_latents": 64}
    sizes = {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9}
    text = {**LLAMA, **sizes, "num_key_value_heads": 3, "head_dim": 64, "vocab_size": 49280, "use_resampler": False}
    vision = {"hidden_size": 768, "image_size": 512, "num_attention_heads": 12, "patch_size": 16}
    config = {
        **IDEFICS3,
        "text_config": {
            **text,
            "perceiver_config": {**perceiver, "num_key_value_heads": 1},
            "pixel_shuffle_factor": 4,
        },
        "vision_config": {**vision, "max_image_size": {"longest_edge": 512}, "size": {"longest_edge": 2048}},
        "scale_factor": 4,
    }
    assert build.build(config, "org/name").total == 256_484_928
    assert alarms(config) == {}


def test_a_section_that_no_module_was_built_from_raises_no_alarm():
    talker = {"text_config": {"n_layer": 3, "width": 33, "num_experts_per_token": 5}}
    config = {**QWEN3_OMNI, "enable_audio_output": False, "talker_config": talker}
    assert alarms(config) == {}


@pytest.mark.parametrize(
    ("text", "vision"),
    [
        ({"layer_types": ["full_attention", "sliding_attention"]}, {}),  # no shape depends on the kind
        ({"codebook_dim": 77, "semantic_codebook_size": 77}, {}),  # a quantity that the class does not have
        ({"decoder_layers": 2, "decoder_ffn_dim": 160}, {}),
        ({}, {"spatial_patch_size": 32, "in_chans": 3, "depth": 3}),
        ({}, {"mlp_ratio": 2, "head_dim": 12}),  # 2 x 48 is the MLP's width, 48 / 4 the heads'
        ({}, {"encoder_activation_function": "gelu", "text_hidden_size": 64}),
    ],
    ids=str,
)
def test_what_the_model_has_raises_no_alarm(text, vision):
    assert alarms(idefics3(text, vision)) == {}


@pytest.mark.parametrize(
    ("vision", "key"),
    [
        ({"hidden_size": 1408, "num_attention_heads": 88, "head_dim": 88}, "head_dim"),  # 16 wide
        ({"attention_head_dim": 88}, "attention_head_dim"),
        ({"head_dim": 20}, "head_dim"),
        ({"mlp_ratio": 4}, "mlp_ratio"),
    ],
    ids=str,
)
def test_projections_of_another_width_raise_an_alarm(vision, key):
    assert alarms(idefics3(vision=vision)) == {f"vision_config.{key}": ""}


@pytest.mark.parametrize("ratio", [4, 2.5])
def test_a_ratio_that_the_class_does_not_take_raises_an_alarm(ratio):
    # 4 x 1280 is also the width of four merged patches
    config = {**QWEN3_VL, "vision_config": {"mlp_ratio": ratio, "hidden_size": 1280}}
    assert alarms(config) == {"vision_config.mlp_ratio": ""}


AUDIO = {"architectures": ["Qwen2AudioForConditionalGeneration"], "model_type": "qwen2_audio", "text_config": LLAMA}


@pytest.mark.parametrize(
    ("audio", "instead"),
    [
        ({"encoder_layers": 2, "n_layer": 3}, {"audio_config.n_layer": "audio_config.encoder_layers 2"}),
        ({"encoder_layers": 2, "depth": 2}, {}),
        ({"encoder_layers": 2, "decoder_layers": 5, "decoder_ffn_dim": 777}, {}),  # left over from Whisper
        ({"encoder_layers": 2, "codebook_dim": 256, "codebook_size": 2048}, {}),
        ({"encoder_layers": 2, "text_num_layers": 9}, {}),
    ],
    ids=str,
)
def test_the_counterpart_is_in_the_same_section(audio, instead):
    assert alarms({**AUDIO, "audio_config": audio}) == instead


@pytest.mark.parametrize(
    ("keys", "paths"),
    [
        ({"hidden_size": 5120}, ["hidden_size"]),
        ({"llm_config": {"hidden_size": 5120, "n_layers": 40}}, ["llm_config.hidden_size", "llm_config.n_layers"]),
        ({"text_config": {"hidden_size": 64, "intermediate_size": 160}, "hidden_size": 5120}, []),
        ({"mm_vision_tower": "google/siglip-so400m-patch14-384"}, ["mm_vision_tower"]),
        ({"vision_config": VIT_L, "vision_tower": "openai/clip-vit-large-patch14-336"}, []),
        ({"vision_config": VIT_L, "vision_tower": "./vision"}, []),
        ({"vision_config": VIT_L, "vision_tower": "google/siglip-base"}, ["vision_tower"]),
        ({"vision_config": VIT_L, "vision_tower": "clip"}, []),
    ],
    ids=str,
)
def test_keys_outside_of_a_section_that_config_json_describes_raise_no_alarm(keys, paths):
    llava = {"architectures": ["LlavaForConditionalGeneration"], "model_type": "llava"}
    assert sorted(alarms({**llava, **keys})) == paths


def test_the_original_layout_raises_an_alarm_for_its_tower():
    assert alarms(LLAVA_ORIGINAL_7B) == {"mm_vision_tower": ""}


@pytest.mark.parametrize(
    "unused",
    [{"-->": {str(n): "label" for n in range(2000)}}, {f"num_{n}_hidden_layers": n + 5 for n in range(2000)}],
    ids=["labels", "sizes"],
)
def test_a_section_with_many_unused_keys_is_read_once(unused, monkeypatch):
    """Its keys were read again for each of them, which took a minute for a few thousand."""
    read, switched_off = [], key_words.switched_off
    monkeypatch.setattr(key_words, "switched_off", lambda key, **how: read.append(key) or switched_off(key, **how))
    keys = build.build(idefics3(vision=unused), "org/name").unused_config_keys
    assert sum(key.path.startswith("vision_config.") for key in keys) >= 2000
    assert len(read) < 3 * 2000
