"""The part of a composite configuration that a stack of layers was built from."""

from tests.anatomy.small_trees import layers, norm
from vlm_inspect.anatomy.sub_configs import part_config
from vlm_inspect.core.architecture import Role
from vlm_inspect.core.module_tree import NodePool

TEXT = {"hidden_size": 64, "num_hidden_layers": 2, "num_experts_per_tok": 8}
VISION = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}


def stack_of(width, count=2):
    pool = NodePool()
    (layer,) = {child for _, child in layers(width, count).children}
    layer = pool.node("SomeLayer", children=(*layer.children, ("norm", norm(width))))
    return pool.node("ModuleList", children=tuple((str(index), layer) for index in range(count)))


def test_the_part_has_the_width_of_the_layers():
    config = {"hidden_size": 9, "text_config": TEXT, "vision_config": VISION}
    found = part_config(config, Role.LANGUAGE_MODEL, "model.layers", stack_of(64))
    assert found is TEXT
    assert part_config(config, Role.VISION_ENCODER, "model.tower.layers", stack_of(32)) is VISION


def test_a_part_may_be_nested():
    config = {"thinker_config": {"model_type": "thinker", "text_config": TEXT, "vision_config": VISION}}
    assert part_config(config, Role.LANGUAGE_MODEL, "thinker.model.layers", stack_of(64)) is TEXT


def test_of_two_equal_parts_the_one_with_a_matching_name_is_found():
    one, other = dict(TEXT), dict(TEXT)
    config = {
        "encoder": {"model_type": "some", "text_config": one},
        "decoder": {"model_type": "some", **other},
    }
    found = part_config(config, Role.LANGUAGE_MODEL, "model.decoder.layers", stack_of(64))
    assert found is config["decoder"]


def test_a_flat_configuration_is_the_part():
    config = {**TEXT, "rope_parameters": {"rope_type": "default"}}
    assert part_config(config, Role.LANGUAGE_MODEL, "model.layers", stack_of(64)) is config
