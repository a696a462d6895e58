"""How attention knows positions, and how far it sees."""

import math

import pytest

from tests.anatomy.layer_parts import attention, layer, layers, mlp, part, read, read_all
from vlm_inspect.anatomy.layers.stacks import Said, said_of_layers, surroundings
from vlm_inspect.core.architecture import Role
from vlm_inspect.core.module_tree import ModuleTree

TURNING = attention(uses=("q_proj", "apply_rotary_pos_emb", "o_proj"))
PLAIN = attention(uses=("q_proj", "o_proj"))
ROTARY = (("rotary_emb", part("SomeRotaryEmbedding", (), {"rope_type": "yarn", "mrope_section": (1, 1, 2)})),)


def of(node, config=None, **around):
    return read(layer(self_attn=node), config, **around).attention


def test_attention_whose_code_turns_by_a_shared_embedding_is_rotary():
    rotary = of(TURNING, {"rope_parameters": {"rope_theta": 5e5, "factor": 4.0}}, rotary=ROTARY).rotary
    assert (rotary.class_name, rotary.kind, rotary.width) == ("SomeRotaryEmbedding", "yarn", 8)
    assert (rotary.sections, rotary.theta, rotary.factor) == ((1, 1, 2), 5e5, 4.0)


def test_attention_whose_code_does_not_turn_has_no_positions_of_its_own():
    read = of(PLAIN, rotary=ROTARY)
    assert (read.positions, read.rotary) == ("none", None)


def test_attention_that_turns_by_what_nobody_was_seen_to_make_is_unknown():
    read = of(TURNING)
    assert read.positions is None
    assert "angles" in read.unknown["positions"]


def test_a_part_of_a_head_may_be_turned():
    config = {"rope_parameters": {"partial_rotary_factor": 0.25}}
    assert of(TURNING, config, rotary=ROTARY).rotary.width == 2


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_stated_of_the_angles_and_is_no_number_is_not_told_as_one(value):
    stated = {"partial_rotary_factor": value, "rope_theta": value, "factor": value}
    rotary = of(TURNING, {"rope_parameters": stated}, rotary=ROTARY).rotary
    assert (rotary.width, rotary.theta, rotary.factor) == (8, None, None)


def test_each_type_of_layer_may_have_an_embedding_of_its_own():
    config = {
        "rope_parameters": {
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
        }
    }
    shared = (("rotary_emb", part("SomeRotaryEmbedding")),)
    full = of(TURNING, config, rotary=shared, said=Said("full_attention")).rotary
    sliding = of(TURNING, config, rotary=shared, said=Said("sliding_attention")).rotary
    assert (full.kind, full.theta, full.factor) == ("linear", 1e6, 8.0)
    assert (sliding.kind, sliding.theta) == ("default", 1e4)


def test_of_two_embeddings_the_local_one_serves_the_layers_that_slide():
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
    local, full = of(node, config, rotary=shared).rotary, of(TURNING, config, rotary=shared).rotary
    assert (local.kind, local.theta, local.factor) == ("default", 1e4, None)
    assert (full.kind, full.theta, full.factor) == ("linear", 1e6, 8.0)


def test_a_base_of_zero_turns_nothing():
    assert of(TURNING, rotary=ROTARY, said=Said(theta=0.0)).positions == "none"


def test_a_towers_rotary_embedding_goes_by_row_and_column():
    grid = (("rotary_pos_emb", part("SomeVisionRotaryEmbedding")),)
    assert of(TURNING, rotary=grid, role=Role.VISION_ENCODER).rotary.kind == "axial"
    assert of(TURNING, rotary=grid, role=Role.LANGUAGE_MODEL).rotary.kind == "default"


@pytest.mark.parametrize(
    "node",
    [
        attention(attributes={"head_dim": 8, "relative_attention_num_buckets": 32}),
        part("SomeAttention", {"rel_pos_h": (27, 8)}, {"num_heads": 4}, qkv=PLAIN.child("q_proj")),
    ],
)
def test_relative_positions(node):
    assert of(node).positions == "relative"


def test_a_bias_by_distance_is_taken_as_an_argument():
    assert of(attention(uses=("q_proj", "alibi"))).positions == "alibi"
    assert of(attention(uses=("q_proj", "alibi")), {"alibi": False}).positions == "none"


def test_cross_attention_is_not_turned():
    told = read(layer(cross_attn=TURNING), rotary=ROTARY)
    assert (told.attention.cross, told.attention.positions) == (True, "none")


def test_layers_of_a_type_that_slides_have_the_window():
    config = {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"]}
    stack = read_all([layer(self_attn=PLAIN, mlp=mlp()) for _ in range(2)], config)
    assert [kind.attention.sliding_window for kind in stack.kinds] == [16, None]
    assert stack.order == (0, 1)


def test_without_types_of_layers_all_have_it_unless_it_is_off():
    assert of(PLAIN, {"sliding_window": 16}).sliding_window == 16
    assert of(PLAIN, {"sliding_window": 16, "use_sliding_window": False}).sliding_window is None
    assert of(PLAIN, {"sliding_window": None}).sliding_window is None


def test_what_the_module_says_comes_first():
    node = attention(attributes={"head_dim": 8, "is_sliding": False, "sliding_window": 16}, uses=("q_proj",))
    assert of(node, {"sliding_window": 16}).sliding_window is None


def test_layers_that_see_the_whole_image_are_listed_by_number():
    said = said_of_layers({"fullatt_block_indexes": [1, 3]}, 4)
    assert [each.layer_type for each in said] == [
        "window_attention",
        "full_attention",
        "window_attention",
        "full_attention",
    ]


def test_a_tower_says_its_window_in_pixels():
    stack = layers(layer(attn=PLAIN), layer(attn=PLAIN))
    tower = part("Tower", (), {"window_size": 112, "patch_size": 14}, blocks=stack)
    tree = ModuleTree(part("Model", visual=tower))
    around = surroundings(tree, "visual.blocks", "visual", Role.VISION_ENCODER, {})
    assert around.window == 8
    assert of(PLAIN, role=Role.VISION_ENCODER, window=8, said=Said("window_attention")).window == 8
    assert of(PLAIN, role=Role.VISION_ENCODER, window=8, said=Said("full_attention")).window is None


def test_chunks_are_of_the_layers_that_have_them():
    config = {"attention_chunk_size": 64}
    assert of(PLAIN, config, said=Said("chunked_attention")).chunk == 64
    assert of(PLAIN, config, said=Said("full_attention")).chunk is None


def test_a_rotary_embedding_of_another_component_is_not_this_ones():
    tower = part("Tower", blocks=layers(layer(attn=TURNING), layer(attn=TURNING)))
    text = part("Text", layers=layers(layer(attn=TURNING)), rotary_emb=part("SomeRotaryEmbedding"))
    tree = ModuleTree(part("Model", visual=tower, text=text))
    assert not surroundings(tree, "visual.blocks", "visual", Role.VISION_ENCODER, {}).rotary
    assert surroundings(tree, "text.layers", "text", Role.LANGUAGE_MODEL, {}).rotary


def test_a_layers_base_that_is_no_number_is_not_told_as_one():
    said = said_of_layers({"layer_rope_theta": [1e4, "10000", None, math.nan]}, 4)
    assert [each.theta for each in said] == [1e4, None, None, None]
