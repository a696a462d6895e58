"""Keys of a config.json that the built classes do not use, and those among them that are structural."""

from types import MappingProxyType

import pytest
import transformers

from tests.published import (
    ARIA,
    FLORENCE_2_BASE,
    FLORENCE_2_LARGE,
    GEMMA_3_4B,
    KIMI_K2_5,
    LLAVA_1_5_7B,
    LLAVA_ORIGINAL_7B,
    LLAVA_ORIGINAL_13B,
    PALIGEMMA_3B,
    QWEN2_5_VL_7B,
    TOTALS,
)
from vlm_inspect.builders.transformers import build, unused_keys
from vlm_inspect.core.errors import UnbuildableConfigError
from vlm_inspect.core.module_tree import ModuleNode, ModuleTree

NAMED = {"architectures": ["LlavaForConditionalGeneration"]}
SMALL_LLAVA = {
    **NAMED,
    "model_type": "llava",
    "tie_word_embeddings": False,
    "text_config": {
        "model_type": "llama",
        "hidden_size": 64,
        "intermediate_size": 160,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 99,
    },
    "vision_config": {
        "model_type": "clip_vision_model",
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    },
}


def unused(config):
    return {key.path: key for key in build.build(config, "org/name").unused_config_keys}


def structural(config):
    return {path: key.built_instead for path, key in unused(config).items() if key.structural}


def with_key(part, key, value):
    """The small LLaVA with one more key, in a part or, for "", at the top."""
    extended = {**(SMALL_LLAVA[part] if part else SMALL_LLAVA), key: value}
    return {**SMALL_LLAVA, part: extended} if part else extended


def test_widths_under_an_unknown_key_are_structural():
    assert structural(FLORENCE_2_LARGE) == {"vision_config.dim_embed": "vision_config.embed_dim [128, 256, 512, 1024]"}
    assert unused(FLORENCE_2_LARGE)["vision_config.dim_embed"].value == "[256, 512, 1024, 2048]"


def test_widths_under_an_unknown_key_that_were_built_are_not_structural():
    keys = unused(FLORENCE_2_BASE)
    assert not keys["vision_config.dim_embed"].structural
    assert structural(FLORENCE_2_BASE) == {}


def test_a_width_of_experts_that_is_built_as_another_is_structural():
    assert structural(ARIA) == {"text_config.moe_intermediate_size": "text_config.intermediate_size 13568"}
    # 25.3B, and what the class makes of it
    text = ARIA["text_config"]
    meant = {**ARIA, "text_config": {**text, "intermediate_size": text["moe_intermediate_size"]}}
    totals = [round(build.build(config, "org/name").total / 1e9, 1) for config in (meant, ARIA)]
    assert totals == [25.3, 194.3]


@pytest.mark.parametrize("named", [{}, NAMED], ids=["no architectures", "architectures"])
def test_flat_keys_of_another_size_are_structural_one_by_one(named):
    assert structural({**LLAVA_ORIGINAL_13B, **named}) == {
        "hidden_size": "text_config.hidden_size 4096",
        "intermediate_size": "text_config.intermediate_size 11008",
        "num_hidden_layers": "text_config.num_hidden_layers 32",
        "num_attention_heads": "text_config.num_attention_heads 32",
        "num_key_value_heads": "text_config.num_key_value_heads 32",
        "mm_vision_tower": "",
    }


def test_flat_keys_with_default_sizes_leave_the_tower_structural():
    assert structural(LLAVA_ORIGINAL_7B) == {"mm_vision_tower": ""}


def test_flat_keys_that_the_class_passes_to_a_part_are_used():
    assert unused(QWEN2_5_VL_7B) == {}


@pytest.mark.parametrize(
    "config", [LLAVA_1_5_7B, PALIGEMMA_3B, GEMMA_3_4B, KIMI_K2_5, *(config for config, _ in TOTALS.values())]
)
def test_published_models_have_no_structural_unused_keys(config):
    assert structural(config) == {}


def test_unused_keys_that_are_not_structural_are_listed():
    assert set(unused(PALIGEMMA_3B)) == {
        "text_config.num_image_tokens",
        "vision_config.num_image_tokens",
        "vision_config.projector_hidden_act",
    }


def test_a_key_that_code_reads_without_declaring_it_is_used():
    # BLIP-2's configuration declares no such key, and its code reads it
    config = {"model_type": "blip-2", "use_decoder_only_language_model": False}
    assert "use_decoder_only_language_model" not in unused(config)


@pytest.mark.parametrize(
    ("part", "key", "value", "instead"),
    [
        ("text_config", "n_layer", 3, "text_config.num_hidden_layers 2"),
        ("text_config", "n_embd", 65, None),
        ("text_config", "ffn_dim", 161, "text_config.intermediate_size 160"),
        ("text_config", "num_experts", 8, ""),
        ("text_config", "layer_types", ["mamba", "attention"], ""),
        ("vision_config", "width", 33, None),
        ("vision_config", "depth", 4, "vision_config.num_hidden_layers 3"),
        ("vision_config", "num_heads", 3, "vision_config.num_attention_heads 2"),
        ("vision_config", "spatial_patch_size", 16, "vision_config.patch_size 14"),
        ("vision_config", "mlp_ratio", 3.7, ""),
        ("", "mm_hidden_size", 33, "vision_config.hidden_size 32"),
        ("", "vt_num_hidden_layers", 27, "vision_config.num_hidden_layers 3"),
        ("", "num_query_tokens", 7, ""),
        ("", "resampler_depth", 6, None),
        ("text_config", "moe_intermediate_size", 6, "text_config.intermediate_size 160"),
        ("", "vision_tower", "google/siglip-so400m-patch14-384", ""),
    ],
)
def test_a_size_that_was_not_built_is_structural_under_any_key(part, key, value, instead):
    path = f"{part}.{key}" if part else key
    found = structural(with_key(part, key, value))
    assert list(found) == [path]
    assert instead is None or found[path] == instead


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        # the model has it, under another key or as the side of a parameter
        ("text_config", "n_layer", 2),
        ("text_config", "n_embd", 64),
        ("text_config", "block_ff_dim", 160),
        ("vision_config", "vt_hidden_size", 32),
        ("vision_config", "num_channels", 3),
        ("", "hidden_size", 64),
        ("", "mm_hidden_size", 32),
        ("", "encoder_patch_size", 14),
        # a tower's pretraining
        ("vision_config", "vocab_size", 49408),
        ("vision_config", "projection_dim", 777),
        # running, training, tokens, images, bookkeeping
        ("text_config", "attention_dropout_rate", 0.5),
        ("text_config", "tile_size", 512),
        ("text_config", "ep_size", 7),
        ("", "sep_token_id", 12345),
        ("", "max_image_tokens", 777),
        ("", "image_grid_pinpoints", [[336, 672]]),
        ("", "router_z_loss_coef", 0.001),
        ("", "quantization_config", {"quant_method": "gptq", "bits": 4, "group_size": 128}),
        # a switch, and a kind that the class may have by default
        ("text_config", "use_qk_norm", True),
        ("", "mm_projector_type", "linear"),
        # no value
        ("text_config", "num_experts", 0),
        ("text_config", "mlp_only_layers", []),
    ],
)
def test_keys_that_change_no_module_are_not_structural(part, key, value):
    assert structural(with_key(part, key, value)) == {}


def test_a_null_is_ignored():
    assert unused(with_key("text_config", "num_experts", None)) == unused(SMALL_LLAVA)


def test_an_unknown_part_is_listed_key_by_key():
    config = with_key("", "projector_config", {"n_embed": 1280, "model_type": "mlp_projector"})
    keys = unused(config)
    assert keys["projector_config.n_embed"].structural
    assert not keys["projector_config.model_type"].structural


STRANGE = (7, 1e300, float("nan"), float("inf"), [7, "x"], [[7]], {"depth.x": {"a.b": 7, "": {"x_size": 3}}}, False)


@pytest.mark.parametrize("value", STRANGE, ids=str)
@pytest.mark.parametrize("part", ["", "vision_config"])
def test_strange_keys_and_values_break_nothing(part, value):
    names = ("a.b_size", "", ".", "sizes..hidden_size", "use_", "resampler.depth", "x.head_dim", "mlp_ratio", "_")
    config = {**(SMALL_LLAVA[part] if part else SMALL_LLAVA), **dict.fromkeys(names, value)}
    tree = build.build({**SMALL_LLAVA, part: config} if part else config, "org/name")
    assert tree.total == build.build(SMALL_LLAVA, "org/name").total
    prefix = f"{part}.mlp_ratio" if part else "mlp_ratio"
    assert any(key.path.startswith(prefix) for key in tree.unused_config_keys)


def test_a_long_value_is_cut():
    keys = unused(with_key("", "supported_things", list(range(1000))))
    assert len(keys["supported_things"].value) == 80
    assert keys["supported_things"].value.endswith("…")


def test_a_key_that_the_library_renames_is_used():
    rope = {"type": "linear", "factor": 2.0}
    assert unused(with_key("text_config", "rope_scaling", rope)) == unused(SMALL_LLAVA)
    assert unused(with_key("text_config", "torch_dtype", "float16")) == unused(SMALL_LLAVA)


def test_a_key_that_the_configuration_pops_is_used():
    # Gemma 4 makes a width per layer of it, and stores it under no name
    text = {"num_key_value_heads": 8, "num_global_key_value_heads": 1, "attention_k_eq_v": True}
    keys = unused({"model_type": "gemma4_unified", "text_config": {"model_type": "gemma4_unified_text", **text}})
    assert "text_config.num_global_key_value_heads" not in keys


def test_the_configuration_class_is_restored():
    base = transformers.PretrainedConfig
    before = base.__getattribute__
    build.build(SMALL_LLAVA, "org/name")
    assert base.__getattribute__ is before
    broken = {**SMALL_LLAVA, "text_config": {"model_type": "llama", "num_attention_heads": 0}}
    with pytest.raises(UnbuildableConfigError):
        build.build(broken, "org/name")
    assert base.__getattribute__ is before


class PlainConfig:
    """As in transformers 4: a constructor that stores every key."""

    attribute_map = MappingProxyType({})

    def __init__(self, **kwargs):
        self.is_decoder = kwargs.pop("is_decoder", False)
        for key, value in kwargs.items():
            setattr(self, key, value)


class PlainText(PlainConfig):
    attribute_map = MappingProxyType({"n_embd": "hidden_size"})

    def __init__(self, hidden_size=64, num_hidden_layers=2, vocab_size=99, **kwargs):
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.vocab_size = vocab_size
        self.head_dim = hidden_size // 4
        super().__init__(**kwargs)


class PlainWhole(PlainConfig):
    """Passes its flat keys to its text part, as Qwen2-VL's in transformers 4, and stores them too."""

    def __init__(self, text_config=None, **kwargs):
        self.text_config = PlainText(**(text_config or kwargs))
        super().__init__(**kwargs)


class IgnoringWhole(PlainWhole):
    """Stores its flat keys, and builds its text part without them."""

    def __init__(self, text_config=None, **kwargs):
        super().__init__(text_config or {"hidden_size": 64}, **kwargs)


def unused_of(stated, config_class):
    node = ModuleNode("Model", parameters=(("weight", (99, 64)),))
    resolved = config_class(**stated)
    with unused_keys.recorded_reads(PlainConfig) as reads:
        assert getattr(resolved, "read_by_code", None) is None or resolved.read_by_code
        assert resolved.text_config.hidden_size
    found = unused_keys.UnusedKeys.find(stated, resolved, PlainConfig, reads)
    return {key.path: key.structural for key in found.describe(ModuleTree(node))}


def test_plain_classes_declare_the_parameters_of_every_constructor():
    stated = {"text_config": {"hidden_size": 64, "is_decoder": True, "n_embd": 64, "head_dim": 16}}
    assert unused_of(stated, PlainWhole) == {}


def test_plain_classes_do_not_use_keys_that_they_only_store():
    stated = {"read_by_code": 5, "text_config": {"width": 7, "colour": "blue"}}
    assert unused_of(stated, PlainWhole) == {"text_config.width": True, "text_config.colour": False}


def test_plain_classes_use_flat_keys_that_a_part_was_made_from():
    assert unused_of({"hidden_size": 128, "num_hidden_layers": 2}, PlainWhole) == {}


def test_plain_classes_do_not_use_flat_keys_if_the_part_has_its_defaults():
    stated = {"hidden_size": 128, "num_hidden_layers": 2}
    assert unused_of(stated, IgnoringWhole) == {"hidden_size": True, "num_hidden_layers": False}


def test_experts_per_token_are_the_same_under_both_keys():
    experts = {"moe_num_experts": 4, "moe_topk": 2, "num_hidden_layers": 1, "vocab_size": 99}
    aria = {"model_type": "aria", "text_config": {"model_type": "aria_text", **experts}}
    alike = {**aria, "text_config": {**aria["text_config"], "num_experts_per_tok": 2}}
    unlike = {**aria, "text_config": {**aria["text_config"], "num_experts_per_tok": 6}}
    assert structural(alike) == {}
    assert structural(unlike) == {"text_config.num_experts_per_tok": "text_config.moe_topk 2"}
