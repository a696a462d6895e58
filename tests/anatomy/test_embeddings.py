"""The embeddings of components, and their modules outside the layers."""

import pytest

from tests.anatomy.small_trees import (
    TEXT,
    VISION,
    audio_encoder,
    convolution,
    layers,
    linear,
    model,
    module,
    norm,
    table,
    text,
)
from tests.every_type.answers import record_of
from tests.stages import sizes
from vlm_inspect.anatomy.describe import describe
from vlm_inspect.anatomy.layers.stacks import is_stack
from vlm_inspect.core.architecture import Role
from vlm_inspect.core.model_ref import ModelIdentity

TEXTS, EYES, EARS = Role.LANGUAGE_MODEL, Role.VISION_ENCODER, Role.AUDIO_ENCODER


def part(model_type, role):
    return record_of(model_type).by_role(role)[0]


def described(tree, role):
    return describe(tree, ModelIdentity("m", source="local"), "transformers").by_role(role)[0]


@pytest.mark.parametrize(
    ("model_type", "role", "expected"),
    [
        ("llava", EYES, [(3, 1024), (577, 1024)]),
        ("chameleon", EYES, [(3, 128)]),
        ("emu3", EYES, [(3, 256)]),
        ("fast_vlm", EYES, [(3, 96), (96, 96), (96, 96)]),
        ("gemma3n", EYES, [(3, 64)]),
        ("kimi_k25", EYES, [(3, 1152), (64, 64, 1152)]),
        ("qwen3_asr", EARS, [(1, 480), (480, 480), (480, 480), (7680, 1024)]),
        ("qwen3_omni_moe", EARS, [(1, 480), (480, 480), (480, 480), (7680, 1280)]),
        ("granite_speech", EARS, [(160, 1024)]),
        ("vibevoice_asr", EARS, [(1, 32)]),
        ("muse_spark", EARS, [(16, 256)]),
        ("blip", TEXTS, [(30524, 768), (512, 768)]),
        ("vision-encoder-decoder", TEXTS, [(30522, 768), (512, 768), (2, 768)]),
        ("blip-2", TEXTS, [(50272, 768), (2050, 768)]),
        ("florence2", TEXTS, [(50265, 1024), (1026, 1024), (1026, 1024)]),
    ],
)
def test_embeddings_of_types(model_type, role, expected):
    assert [sizes(stage) for stage in part(model_type, role).embeddings] == expected


def test_a_stem_of_convolutions_ends_with_its_linear():
    stem = part("nemotron_h_omni", EARS).embeddings
    assert [stage.kind for stage in stem] == ["convolution"] * 5 + ["linear"]
    assert (sizes(stem[0]), sizes(stem[-1])) == ((1, 256), (4096, 1024))


def test_convolutions_between_stages_are_extra_modules():
    extra = part("fast_vlm", EYES).extra_modules
    assert {"downsample", "pos_emb"} <= {stage.path.rpartition(".")[2] for stage in extra}


def test_a_convolution_after_the_layers_is_not_an_embedding():
    ear = audio_encoder("SomeAudioModel", after=convolution(VISION, 2 * VISION, 2))
    tree = model(audio_tower=ear, multi_modal_projector=linear(2 * VISION, TEXT), language_model=text())
    assert [sizes(stage) for stage in described(tree, EARS).embeddings] == [(1, VISION)]


def test_a_tied_table_is_not_repeated():
    names = [stage.path.rpartition(".")[2] for stage in part("florence2", TEXTS).extra_modules]
    assert "embed_tokens" not in names
    assert names.count("layernorm_embedding") == 2


def test_a_norm_in_the_module_of_an_embedding_is_an_extra_module():
    embeddings = module("SomeEmbeddings", word_embeddings=table(1000, TEXT), LayerNorm=norm(TEXT))
    body = module("TextModel", embeddings=embeddings, layers=layers(TEXT))
    assert [stage.kind for stage in described(model(model=body), TEXTS).extra_modules] == ["norm"]


def test_extra_modules_have_their_parameters():
    parameters = {stage.path.rpartition(".")[2]: stage.parameters for stage in part("gemma4", TEXTS).extra_modules}
    assert parameters["embed_tokens_per_layer"] == 262_144 * 35 * 256


@pytest.mark.parametrize(
    ("model_type", "counts"),
    [("fast_vlm", [2, 12, 24, 4, 2]), ("gemma3n", [3, 5, 37, 39]), ("perception_lm", [23])],
)
def test_the_stages_of_a_timm_tower_are_stacks_of_blocks(model_type, counts):
    assert [stack.count for stack in part(model_type, EYES).stacks] == counts


def test_blocks_that_take_pixels_are_a_stem_not_layers():
    first, second = (module("SomeBlock", conv=convolution(given, 8, 3, 3)) for given in (3, 8))
    assert not is_stack(module("Sequential", **{"0": first, "1": second}))
    assert is_stack(module("Sequential", **{"0": second, "1": second}))


def test_one_block_without_attention_is_not_a_stack():
    assert not is_stack(module("ModuleList", **{"0": module("SomeBlock", conv=convolution(8, 8, 3))}))


def test_the_projections_of_an_mlp_may_be_pointwise_convolutions():
    mlp = part("fast_vlm", EYES).stacks[0].kinds[0].mlp
    assert (mlp.input_width, mlp.hidden_width, mlp.output_width) == (96, 384, 96)


@pytest.mark.parametrize("model_type", ["lfm2_vl", "lfm3_vl"])
def test_an_activation_function_is_read_from_the_code(model_type):
    mlps = [kind.mlp for kind in part(model_type, TEXTS).layers if kind.mlp]
    assert {(mlp.activation, *mlp.unknown) for mlp in mlps if not mlp.experts} == {("silu",)}


def test_the_projections_of_an_attention_may_be_pointwise_convolutions():
    """MobileNetV5: 12 heads share one key and value, downsampled by a 3 x 3 convolution."""
    attention = next(kind.attention for kind in part("gemma3n", EYES).stacks[2].kinds if kind.attention)
    facts = (attention.kind, attention.heads, attention.key_value_heads, attention.head_width)
    assert (facts, attention.convolution) == (("multi-query", 12, 1, 64), 3)
