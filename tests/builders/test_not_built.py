"""Notes on models that are built otherwise than their configuration suggests."""

import pytest

from tests.published import GEMMA_3_4B, KIMI_K2_5, LLAVA_1_5_7B, MISTRAL_SMALL_3_1, QWEN3_VL_30B_A3B
from vlm_inspect.builders.transformers import build
from vlm_inspect.builders.transformers.not_built import not_built
from vlm_inspect.core.module_tree import ModuleTree, NodePool

HEAD = 131072 * 5120


def notes(config):
    return build.build(config, "org/name").notes


def test_defaults_that_disagree_on_tying_are_a_note_with_the_parameters():
    (note,) = notes(MISTRAL_SMALL_3_1)
    assert "does not say whether the head is tied" in note
    assert f"{HEAD:,} parameters" in note
    tied, untied = (build.build({**MISTRAL_SMALL_3_1, "tie_word_embeddings": tie}, "m") for tie in (True, False))
    assert untied.total - tied.total == HEAD
    # 24.01B, as its name says
    assert round(untied.total / 1e9, 2) == 24.01


@pytest.mark.parametrize("tie", [True, False])
def test_a_stated_tie_that_is_built_is_no_note(tie):
    assert notes({**MISTRAL_SMALL_3_1, "tie_word_embeddings": tie}) == ()


@pytest.mark.parametrize(("top", "text"), [(True, False), (False, True)])
def test_two_keys_that_disagree_on_tying_are_both_in_the_note(top, text):
    config = {
        **MISTRAL_SMALL_3_1,
        "tie_word_embeddings": top,
        "text_config": {**MISTRAL_SMALL_3_1["text_config"], "tie_word_embeddings": text},
    }
    (note,) = notes(config)
    assert f"tie_word_embeddings {str(top).lower()}" in note
    assert f"text_config.tie_word_embeddings {str(text).lower()}" in note


@pytest.mark.parametrize("config", [GEMMA_3_4B, LLAVA_1_5_7B, QWEN3_VL_30B_A3B], ids=["gemma", "llava", "qwen"])
def test_no_note_if_all_agree_on_tying(config):
    assert notes(config) == ()


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
    assert bool(not_built(stated, object(), tree)) == has_note
