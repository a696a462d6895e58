"""Notes on models that are built otherwise than their configuration suggests."""

import pytest

from tests.published import KIMI_K2_5, QWEN3_VL_30B_A3B
from vlm_inspect.builders.transformers import build
from vlm_inspect.builders.transformers.not_built import not_built
from vlm_inspect.core.module_tree import ModuleTree, NodePool


def notes(config):
    return build.build(config, "org/name").notes


def with_prediction_layers(config, key, count):
    return {**config, "text_config": {**config["text_config"], key: count}}


@pytest.mark.parametrize(
    "key", ["mtp_num_hidden_layers", "num_nextn_predict_layers", "num_mtp_layers", "mtp_num_layers"]
)
def test_prediction_layers_that_are_not_built_are_a_note(key):
    (note,) = notes(with_prediction_layers(QWEN3_VL_30B_A3B, key, 2))
    assert f"2 layers for predicting further tokens (text_config.{key})" in note
    assert "Qwen3VLMoeForConditionalGeneration does not build" in note


def test_no_prediction_layers_are_no_note():
    assert "further tokens" not in " ".join(notes(KIMI_K2_5))
    assert notes(with_prediction_layers(QWEN3_VL_30B_A3B, "mtp_num_hidden_layers", 0)) == ()


def model_with(layers, *others):
    pool = NodePool()
    layer = pool.node("Layer", parameters=(("weight", (4, 4)),))
    stack = pool.node("ModuleList", children=tuple((str(number), layer) for number in range(layers)))
    return ModuleTree(pool.node("Model", children=(("layers", stack), *((name, layer) for name in others))))


@pytest.mark.parametrize(
    ("tree", "has_note"),
    [(model_with(4), True), (model_with(5), False), (model_with(4, "mtp"), False)],
    ids=["left out", "in the stack", "a module of its own"],
)
def test_prediction_layers_that_are_built_are_no_note(tree, has_note):
    stated = {"num_hidden_layers": 4, "num_nextn_predict_layers": 1}
    assert bool(list(not_built(stated, tree))) == has_note
