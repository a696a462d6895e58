"""Sequence operations in transformers' own classes."""

import pytest

from tests.every_type import config_of
from vlm_inspect.builders.transformers import build
from vlm_inspect.core.module_tree import TokenRead


def forwards(model_type):
    return {forward.path: forward for forward in build.build(config_of(model_type), model_type).forward_info}


def test_scatter_has_its_method():
    joins = [join for join in forwards("llava")["model"].joins if join.operation == "scatter"]
    assert [(join.where, join.target, join.values) for join in joins] == [
        ("LlavaModel.forward", "inputs_embeds", ("image_features",))
    ]


def test_method_that_forward_calls_is_read():
    places = {join.where for join in forwards("pi0")["model"].joins}
    assert "PI0Model.embed_prefix" in places


def test_function_in_the_same_file_is_read():
    places = {join.where for join in forwards("udop")["encoder"].joins}
    assert "combine_image_text_embeddings" in places


def test_token_has_the_key_of_the_configuration():
    assert TokenRead("image_token_id", "image_token_index", 32000) in forwards("llava")["model"].tokens
    assert TokenRead("image_token_id", "image_patch_id", 151938) in forwards("molmo2")["model"].tokens


def test_token_of_a_sub_configuration_is_found():
    tokens = forwards("phi4_multimodal")["model.embed_tokens_extend.image_embed"].tokens
    assert TokenRead("image_token_id", "image_token_id", 200010) in tokens


def test_token_that_is_not_in_the_configuration_has_no_number():
    assert TokenRead("image_token_id", "image_token_index", None) in forwards("blip-2")[""].tokens


@pytest.mark.parametrize(
    "config", [{"model_type": "llama"}, {"model_type": "qwen2"}], ids=lambda each: each["model_type"]
)
def test_text_model_combines_no_features(config):
    joins = [join for forward in build.build(config, "text").forward_info for join in forward.joins]
    assert not {join.operation for join in joins} & {"scatter", "prepend", "append"}
