"""Trees from headers compared with native builds, for every multimodal type that needs no extra."""

import pytest
import torch

from tests.every_type import NEEDS_EXTRA, TYPES
from tests.every_type.answers import independent_tensors, record_of, tree_of
from tests.stages import sizes
from vlm_inspect.anatomy.describe import describe
from vlm_inspect.builders.headers import build as header
from vlm_inspect.core.architecture import Role
from vlm_inspect.core.checkpoint import TensorHeaders, TensorInfo
from vlm_inspect.core.errors import BadHeaderError
from vlm_inspect.core.model_ref import ModelIdentity

# types whose parts names and shapes do not determine, by the reason
BY_A_CLASS_NAME = {  # the native build finds the part by its class's name or accessor, which no header holds
    "blip",
    "diffusion_gemma",
    "granite_speech",
    "granite_speech_plus",
    "pix2struct",
    "qwen2_5_omni",
    "qwen2_5_omni_thinker",
    "udop",
    "vision-encoder-decoder",
}
BY_THE_HALVES_OF_A_TOWER = {"deepseek_ocr2", "nemo_speechlm", "unlimited_ocr"}  # one tower holds two encoders
BY_DECLARATION = {"instructblip", "instructblipvideo"}  # query tokens go to the part declared first
BY_LAYERS_WITHOUT_ATTENTION = {  # convolutional layers, which only their class's name calls layers
    "chameleon",
    "emu3",
    "janus",
    "kyutai_speech_to_text",
    "omniasr",
    "phi4_multimodal",
    "qwen3_omni_moe",
    "vibevoice_asr",
}
BY_A_CUSTOM_NAME = {  # a parameter and a buffer of the same name, or a buffer of a name of its own
    "apertus1p5",
    "ernie4_5_vl_moe",
}
PARTED_OTHERWISE = BY_A_CLASS_NAME | BY_THE_HALVES_OF_A_TOWER | BY_DECLARATION | BY_LAYERS_WITHOUT_ATTENTION
DIFFERENT = PARTED_OTHERWISE | BY_A_CUSTOM_NAME
DTYPES = {torch.float32: "F32", torch.int64: "I64", torch.bool: "BOOL", torch.uint8: "U8", torch.int32: "I32"}


def checkpoint_of(model_type):
    """What a checkpoint of the model says in its headers: each tensor once, in the order of the names."""
    tensors = [
        TensorInfo(name, DTYPES[dtype], shape, size, "model.safetensors")
        for name, dtype, shape, size in independent_tensors(model_type)
    ]
    return TensorHeaders(tuple(sorted(tensors, key=lambda tensor: tensor.name)))


def untyped(config):
    """A configuration without model_type and architectures."""
    if isinstance(config, dict):
        return {key: untyped(value) for key, value in config.items() if key not in {"model_type", "architectures"}}
    return [untyped(value) for value in config] if isinstance(config, list) else config


def parts(architecture):
    """Role, parameters, layers and width of every component."""
    found = [(part.role.value, part.parameters, part.layer_count, part.width) for part in architecture.components]
    return sorted(found, key=str)


def built_twice(model_type):
    tree = header.build(untyped(tree_of(model_type).config), checkpoint_of(model_type), model_type)
    by_class = record_of(model_type)
    return by_class, describe(tree, by_class.model, "header")


@pytest.mark.slow
@pytest.mark.parametrize("model_type", sorted(set(TYPES) - set(NEEDS_EXTRA) - DIFFERENT))
def test_headers_give_the_same_parts_as_the_native_build(model_type):
    by_class, by_headers = built_twice(model_type)
    assert parts(by_headers) == parts(by_class)
    assert by_headers.parameters.total == by_class.parameters.total


@pytest.mark.slow
@pytest.mark.parametrize("model_type", sorted(PARTED_OTHERWISE))
def test_where_only_code_separates_parts_the_total_is_still_exact(model_type):
    by_class, by_headers = built_twice(model_type)
    assert parts(by_headers) != parts(by_class)
    assert by_headers.parameters.total == by_class.parameters.total
    assert sum(part.parameters for part in by_headers.components) == by_headers.parameters.total


@pytest.mark.parametrize("model_type", sorted(BY_A_CUSTOM_NAME))
def test_a_buffer_that_only_code_distinguishes_is_less_than_a_millionth(model_type):
    by_class, by_headers = built_twice(model_type)
    off = by_headers.parameters.total - by_class.parameters.total
    assert 0 < abs(off) < by_class.parameters.total / 1e6


@pytest.fixture(scope="module")
def llava():
    return built_twice("llava")[1]


def test_a_class_that_shapes_do_not_prove_is_unknown(llava):
    tower = llava.by_role(Role.VISION_ENCODER)[0]
    layer = tower.layers[0]
    assert (llava.model_class, tower.class_name, layer.class_name) == (None, None, None)
    assert layer.attention.class_name is None
    assert layer.mlp.class_name is None
    reasons = [
        llava.unknown["model_class"],
        tower.unknown["class_name"],
        layer.attention.unknown["class_name"],
    ]
    assert reasons == [header.NO_CODE] * 3


def test_a_class_that_shapes_prove_is_named(llava):
    tower = llava.by_role(Role.VISION_ENCODER)[0]
    assert [(stage.class_name, sizes(stage)) for stage in tower.embeddings] == [
        ("Conv2d", (3, 1024)),
        ("Embedding", (577, 1024)),
    ]
    assert tower.layers[0].norms[0].class_name == "LayerNorm"
    assert llava.by_role(Role.LANGUAGE_MODEL)[0].layers[0].norms[0].class_name is None


def test_heads_come_from_the_configuration_part_of_that_width(llava):
    heads = [llava.by_role(role)[0].layers[0].attention.heads for role in (Role.VISION_ENCODER, Role.LANGUAGE_MODEL)]
    assert heads == [16, 32]


def test_facts_that_headers_do_not_hold_are_unknown_with_a_reason(llava):
    layer = llava.by_role(Role.LANGUAGE_MODEL)[0].layers[0]
    assert layer.norms[0].eps is None
    assert "eps" in layer.norms[0].unknown
    assert llava.attention_backends is None
    assert "attention_backends" in llava.unknown


def test_an_activation_is_the_one_that_the_configuration_states_or_unknown():
    def language(config):
        return answered(config, small()).by_role(Role.LANGUAGE_MODEL)[0].layers[0].mlp

    assert language({"hidden_act": "silu"}).activation == "silu"
    assert language({}).activation is None
    assert "activation" in language({}).unknown


def test_each_component_has_its_stored_dtypes(llava):
    assert {part.role: dict(part.stored_bytes) for part in llava.components} == {
        part.role: {"F32": part.parameters * 4} for part in llava.components
    }


# --- heads -------------------------------------------------------------------------------------------


def small(*extra, names=("model.embed_tokens.weight",)):
    shapes = dict.fromkeys(names, (100, 8)) | dict(extra)
    layer = "model.layers.{}.{}"
    for number in range(2):
        shapes |= {layer.format(number, f"self_attn.{name}_proj.weight"): (8, 8) for name in "qkvo"}
        shapes |= {
            layer.format(number, "mlp.up_proj.weight"): (16, 8),
            layer.format(number, "mlp.down_proj.weight"): (8, 16),
        }
    return TensorHeaders(tuple(TensorInfo(name, "BF16", shape, 2) for name, shape in shapes.items()))


def answered(config, headers):
    return describe(header.build(config, headers, "org/name"), ModelIdentity("org/name"), "header")


def test_a_head_that_is_not_stored_is_tied_if_the_configuration_says_so():
    record = answered({"tie_word_embeddings": True}, small())
    head = record.by_role(Role.LM_HEAD)[0]
    assert (head.paths, head.parameters, head.head.tied_to) == (("lm_head",), 0, "model.embed_tokens.weight")


def test_a_tied_head_in_the_old_layout_is_next_to_the_inner_model():
    headers = small(names=("language_model.model.embed_tokens.weight",))
    record = answered({"text_config": {"tie_word_embeddings": True}}, headers)
    assert record.by_role(Role.LM_HEAD)[0].paths == ("language_model.lm_head",)


def test_a_stored_head_that_is_tied_counts_once():
    head = ("lm_head.weight", (100, 8))
    tied = answered({"tie_word_embeddings": True}, small(head))
    apart = answered({"tie_word_embeddings": False}, small(head))
    assert apart.parameters.total - tied.parameters.total == 800


def test_a_missing_head_is_unknown_if_the_configuration_does_not_say():
    record = answered({}, small())
    assert "lm_head" in record.unknown
    assert "lm_head" not in record.absent


def test_an_untied_head_that_is_not_stored_is_absent():
    assert Role.LM_HEAD.value in answered({"tie_word_embeddings": False}, small()).absent


# --- names -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [".".join("a" * 200), "model.", ""])
def test_a_name_that_no_module_can_hold_is_refused(name):
    with pytest.raises(BadHeaderError, match="no module holds a tensor"):
        header.build({}, TensorHeaders((TensorInfo(name, "F32", (1,), 4),)), "org/name")


@pytest.mark.parametrize("name", ["a..b", "../weight", "0", "weight.weight", "\x1b[31m.weight"])
def test_odd_names_are_modules_like_others(name):
    tree = header.build({}, TensorHeaders((TensorInfo(name, "F32", (3, 2), 24),)), "org/name")
    assert tree.total == 6


def test_buffers_are_no_parameters():
    stored = ("inv_freq", "position_ids", "running_mean", "num_batches_tracked")
    tensors = tuple(TensorInfo(f"m.{name}", "F32", (7,), 28) for name in stored)
    tree = header.build({}, TensorHeaders((*tensors, TensorInfo("m.weight", "F32", (7,), 28))), "org/name")
    assert tree.total == 7
    assert [name for name, _ in tree.find("m").buffers] == list(stored)


def without(headers, tensor):
    missing = {"model-00002.safetensors": (headers.tensors[tensor].name,)}
    others = [each for index, each in enumerate(headers.tensors) if index != tensor % len(headers.tensors)]
    return TensorHeaders(tuple(others), missing=missing)


def test_tensors_of_a_missing_file_make_counts_unknown():
    record = answered({"tie_word_embeddings": False}, without(small(), -1))
    language = record.by_role(Role.LANGUAGE_MODEL)[0]
    reason = "model-00002.safetensors is not there"
    assert (record.parameters.total, record.parameters.unknown["total"]) == (None, reason)
    assert (language.parameters, language.unknown["parameters"]) == (None, reason)
    assert language.layer_count == 2


def test_a_part_that_may_be_in_a_missing_file_is_unknown():
    record = answered({"tie_word_embeddings": False}, without(small(), 0))
    assert not record.absent
    assert record.unknown["language_model"] == "model-00002.safetensors is not there"
