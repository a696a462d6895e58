"""Position encodings and windows of attention."""

import math

import pytest

from tests.anatomy.layer_parts import attention, layer, layers, mlp, part, read, read_all
from vlm_inspect.anatomy.layers.stacks import DeclaredLayerFacts, declared_layer_facts, layer_context
from vlm_inspect.core.architecture import Role
from vlm_inspect.core.module_tree import ModuleTree

ROTATING = attention(uses=("q_proj", "apply_rotary_pos_emb", "o_proj"))
PLAIN = attention(uses=("q_proj", "o_proj"))
ROTARY = (("rotary_emb", part("SomeRotaryEmbedding", (), {"rope_type": "yarn", "mrope_section": (1, 1, 2)})),)


def attention_of(node, config=None, **context):
    return read(layer(self_attn=node), config, **context).attention


def test_attention_with_a_shared_rotary_embedding_is_rotary():
    rotary = attention_of(ROTATING, {"rope_parameters": {"rope_theta": 5e5, "factor": 4.0}}, rotary=ROTARY).rotary
    assert (rotary.class_name, rotary.kind, rotary.width) == ("SomeRotaryEmbedding", "yarn", 8)
    assert (rotary.sections, rotary.theta, rotary.factor) == ((1, 1, 2), 5e5, 4.0)


def test_attention_whose_code_does_not_rotate_has_no_positions():
    read = attention_of(PLAIN, rotary=ROTARY)
    assert (read.positions, read.rotary) == ("none", None)


def test_positions_are_unknown_if_the_embedding_was_not_found():
    read = attention_of(ROTATING)
    assert read.positions is None
    assert "angles" in read.unknown["positions"]


def test_partial_rotary_width():
    config = {"rope_parameters": {"partial_rotary_factor": 0.25}}
    assert attention_of(ROTATING, config, rotary=ROTARY).rotary.width == 2


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_rope_parameters_that_are_not_numbers_are_ignored(value):
    parameters = {"partial_rotary_factor": value, "rope_theta": value, "factor": value}
    rotary = attention_of(ROTATING, {"rope_parameters": parameters}, rotary=ROTARY).rotary
    assert (rotary.width, rotary.theta, rotary.factor) == (8, None, None)


def test_rope_parameters_per_layer_type():
    config = {
        "rope_parameters": {
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
        }
    }
    shared = (("rotary_emb", part("SomeRotaryEmbedding")),)
    full = attention_of(ROTATING, config, rotary=shared, declared=DeclaredLayerFacts("full_attention")).rotary
    sliding = attention_of(ROTATING, config, rotary=shared, declared=DeclaredLayerFacts("sliding_attention")).rotary
    assert (full.kind, full.theta, full.factor) == ("linear", 1e6, 8.0)
    assert (sliding.kind, sliding.theta) == ("default", 1e4)


def test_the_local_embedding_is_for_sliding_layers():
    config = {
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        "rope_theta": 1e6,
        "rope_local_base_freq": 1e4,
    }
    shared = (
        ("rotary_emb", part("SomeRotaryEmbedding", (), {"rope_type": "linear"})),
        ("rotary_emb_local", part("SomeRotaryEmbedding", (), {"rope_type": "default"})),
    )
    node = attention(attributes={"head_dim": 8, "sliding_window": 16}, uses=("apply_rotary_pos_emb",))
    local, full = (
        attention_of(node, config, rotary=shared).rotary,
        attention_of(ROTATING, config, rotary=shared).rotary,
    )
    assert (local.kind, local.theta, local.factor) == ("default", 1e4, None)
    assert (full.kind, full.theta, full.factor) == ("linear", 1e6, 8.0)


def test_a_theta_of_zero_means_no_positions():
    assert attention_of(ROTATING, rotary=ROTARY, declared=DeclaredLayerFacts(theta=0.0)).positions == "none"


def test_the_rotary_embedding_of_a_vision_tower_is_axial():
    grid = (("rotary_pos_emb", part("SomeVisionRotaryEmbedding")),)
    assert attention_of(ROTATING, rotary=grid, role=Role.VISION_ENCODER).rotary.kind == "axial"
    assert attention_of(ROTATING, rotary=grid, role=Role.LANGUAGE_MODEL).rotary.kind == "default"


@pytest.mark.parametrize(
    "node",
    [
        attention(attributes={"head_dim": 8, "relative_attention_num_buckets": 32}),
        part("SomeAttention", {"rel_pos_h": (27, 8)}, {"num_heads": 4}, qkv=PLAIN.child("q_proj")),
    ],
)
def test_relative_positions(node):
    assert attention_of(node).positions == "relative"


def test_alibi_is_seen_in_the_code():
    assert attention_of(attention(uses=("q_proj", "alibi"))).positions == "alibi"
    assert attention_of(attention(uses=("q_proj", "alibi")), {"alibi": False}).positions == "none"


def test_cross_attention_has_no_positions():
    record = read(layer(cross_attn=ROTATING), rotary=ROTARY)
    assert (record.attention.cross, record.attention.positions) == (True, "none")


def test_sliding_window_per_layer_type():
    config = {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"]}
    stack = read_all([layer(self_attn=PLAIN, mlp=mlp()) for _ in range(2)], config)
    assert [kind.attention.sliding_window for kind in stack.kinds] == [16, None]
    assert stack.order == (0, 1)


def test_without_layer_types_all_layers_have_the_window_unless_it_is_off():
    assert attention_of(PLAIN, {"sliding_window": 16}).sliding_window == 16
    assert attention_of(PLAIN, {"sliding_window": 16, "use_sliding_window": False}).sliding_window is None
    assert attention_of(PLAIN, {"sliding_window": None}).sliding_window is None


def test_module_attributes_override_the_configuration():
    node = attention(attributes={"head_dim": 8, "is_sliding": False, "sliding_window": 16}, uses=("q_proj",))
    assert attention_of(node, {"sliding_window": 16}).sliding_window is None


def test_full_attention_layers_are_listed_by_index():
    facts = declared_layer_facts({"fullatt_block_indexes": [1, 3]}, 4)
    assert [each.layer_type for each in facts] == [
        "window_attention",
        "full_attention",
        "window_attention",
        "full_attention",
    ]


def test_a_window_in_pixels_becomes_patches():
    stack = layers(layer(attn=PLAIN), layer(attn=PLAIN))
    tower = part("Tower", (), {"window_size": 112, "patch_size": 14}, blocks=stack)
    tree = ModuleTree(part("Model", visual=tower))
    context = layer_context(tree, "visual.blocks", "visual", Role.VISION_ENCODER, {})
    assert context.window == 8
    assert (
        attention_of(PLAIN, role=Role.VISION_ENCODER, window=8, declared=DeclaredLayerFacts("window_attention")).window
        == 8
    )
    assert (
        attention_of(PLAIN, role=Role.VISION_ENCODER, window=8, declared=DeclaredLayerFacts("full_attention")).window
        is None
    )


def test_chunk_per_layer_type():
    config = {"attention_chunk_size": 64}
    assert attention_of(PLAIN, config, declared=DeclaredLayerFacts("chunked_attention")).chunk == 64
    assert attention_of(PLAIN, config, declared=DeclaredLayerFacts("full_attention")).chunk is None


def test_a_rotary_embedding_of_another_component_is_not_shared():
    tower = part("Tower", blocks=layers(layer(attn=ROTATING), layer(attn=ROTATING)))
    text = part("Text", layers=layers(layer(attn=ROTATING)), rotary_emb=part("SomeRotaryEmbedding"))
    tree = ModuleTree(part("Model", visual=tower, text=text))
    assert not layer_context(tree, "visual.blocks", "visual", Role.VISION_ENCODER, {}).rotary
    assert layer_context(tree, "text.layers", "text", Role.LANGUAGE_MODEL, {}).rotary


def test_a_layers_theta_that_is_not_a_number_is_none():
    facts = declared_layer_facts({"layer_rope_theta": [1e4, "10000", None, math.nan]}, 4)
    assert [each.theta for each in facts] == [1e4, None, None, None]
