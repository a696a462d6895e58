"""Quantized parameters of each component, and where skip lists, dtypes and stored weights contradict each other."""

import math

import pytest
from transformers.quantizers.quantizers_utils import should_convert_module

from tests.builders import tiny_vlm
from tests.builders.tiny_vlm import SHAPES
from tests.sparse import BITS
from vlm_inspect.anatomy.describe import describe
from vlm_inspect.anatomy.stored_weights import storage_notes
from vlm_inspect.builders.order import build_header_tree
from vlm_inspect.builders.transformers import build
from vlm_inspect.core.architecture import Role
from vlm_inspect.core.checkpoint import Checkpoint, TensorHeaders, TensorInfo
from vlm_inspect.core.model_ref import ModelIdentity
from vlm_inspect.render.card import component_lines
from vlm_inspect.render.cells import plain_text

NAME = ModelIdentity("org/name")


def is_linear(name):
    return len(SHAPES[name]) == 2 and "embed" not in name and "head" not in name


def fp8(name, shape):
    return {name: ("F8_E4M3", shape), name.replace(".weight", ".weight_scale"): ("F32", (1,))}


def awq(name, shape):
    base, (out, given) = name.removesuffix(".weight"), shape
    return {
        f"{base}.qweight": ("I32", (given, out // 8)),
        f"{base}.qzeros": ("I32", (1, out // 8)),
        f"{base}.scales": ("F16", (1, out)),
    }


def nf4(name, shape):
    return {
        name: ("U8", (math.prod(shape) // 2, 1)),
        f"{name}.absmax": ("F32", (math.prod(shape) // 64,)),
        f"{name}.quant_map": ("F32", (16,)),
        f"{name}.quant_state.bitsandbytes__nf4": ("U8", (79,)),
    }


def checkpoint(packing, parts):
    """The small model with the Linear layers of some parts packed."""
    tensors = {}
    for name, shape in SHAPES.items():
        is_packed = is_linear(name) and name.startswith(parts)
        tensors |= packing(name, shape) if is_packed else {name: ("BF16", shape)}
    return TensorHeaders(
        tuple(
            TensorInfo(name, dtype, shape, math.prod(shape) * BITS[dtype] // 8)
            for name, (dtype, shape) in tensors.items()
        )
    )


def record(packing, parts, **config):
    tree = build_header_tree(Checkpoint(NAME, {**tiny_vlm.CONFIG, **config}), checkpoint(packing, parts))
    return describe(tree, NAME, "header")


def quantized(record):
    return {part.role: part.quantized_parameters for part in record.components if part.quantized_parameters}


TEXT_LINEARS = 4 * (192 * 64 + 64 * 64 + 2 * 256 * 64)
TOWER_LINEARS = 3 * (96 * 32 + 32 * 32 + 2 * 128 * 32)


@pytest.mark.parametrize("packing", [fp8, awq, nf4])
def test_each_component_has_its_quantized_parameters(packing):
    answer = record(packing, ("text", "vision_tower"))
    assert quantized(answer) == {Role.LANGUAGE_MODEL: TEXT_LINEARS, Role.VISION_ENCODER: TOWER_LINEARS}
    assert [part.quantized_parameters for part in answer.by_role(Role.PROJECTOR)] == [0]
    assert answer.parameters.total == sum(map(math.prod, SHAPES.values()))


def test_the_card_shows_what_is_quantized():
    (text,) = record(fp8, ("text",)).by_role(Role.LANGUAGE_MODEL)
    lines = {name: plain_text(cell) for name, cell in component_lines(text)}
    assert lines["Quantized"] == "75.3 % of its parameters (stored as BF16, F32, F8_E4M3)"


def test_a_built_class_has_no_quantized_parameters():
    tree = build.build({"model_type": "siglip", "architectures": ["SiglipModel"]}, "org/name")
    assert {part.quantized_parameters for part in describe(tree, NAME, "transformers").components} == {None}


@pytest.mark.parametrize("packing", [fp8, awq, nf4])
def test_quantized_weights_without_a_configuration_are_noted(packing):
    (note,) = [note for note in record(packing, ("text",)).notes if "stored quantized" in note]
    assert note.startswith("16 of its weights")


@pytest.mark.parametrize("packing", [fp8, awq])
def test_a_configuration_of_plain_weights_is_noted(packing):
    notes = record(packing, (), quantization_config={"quant_method": "fp8"}).notes
    assert "Its configuration says fp8, and none of its weights is stored quantized." in notes


def test_consistent_weights_are_not_noted():
    config = {"quant_method": "fp8", "modules_to_not_convert": ["vision_tower", "projector", "lm_head"]}
    assert not [note for note in record(fp8, ("text",), quantization_config=config).notes if "quantiz" in note]


LISTS = ("modules_to_not_convert", "ignore", "exclude_modules", "llm_int8_skip_modules", "ignored_layers")


@pytest.mark.parametrize("key", LISTS)
def test_a_list_that_names_quantized_modules_is_noted(key):
    config = {"quant_method": "awq", "bits": 4, key: ["vision_tower", "lm_head"]}
    notes = record(awq, ("text", "vision_tower"), quantization_config=config).notes
    expected = f"quantization_config.{key} names vision_tower, and the checkpoint stores quantized weights there."
    assert expected in notes
    assert not any("names lm_head" in note for note in notes)


@pytest.mark.parametrize("key", LISTS)
def test_a_list_that_names_no_module_is_noted(key):
    config = {"quant_method": "awq", "bits": 4, key: ["visual", "re:.*anything.*", "Linear", "model.head*", "lm_head"]}
    notes = [note for note in record(awq, ("text",), quantization_config=config).notes if key in note]
    assert [note.split(", which")[0] for note in notes] == [f"quantization_config.{key} names visual, model.head*"]


def qwen2_vl(**quantization):
    config = {
        "model_type": "qwen2_vl",
        "architectures": ["Qwen2VLForConditionalGeneration"],
        "text_config": {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "vocab_size": 100},
        "vision_config": {"embed_dim": 32, "depth": 1, "num_heads": 2, "hidden_size": 64},
        "quantization_config": quantization,
    }
    return build.build(config, "org/name")


@pytest.mark.parametrize(
    ("method", "name", "spares"),
    [
        ("awq", "visual", False),
        ("awq", "model.visual", True),
        ("gptq", "visual", False),
        ("bitsandbytes", "visual.blocks", False),
        ("bitsandbytes", "lm_head", True),
        ("fp8", "visual", True),  # renamed when it loads
        ("fp8", "vision_tower", False),
    ],
)
def test_a_list_of_an_older_layout_spares_nothing(method, name, spares):
    tree = qwen2_vl(quant_method=method, bits=4, modules_to_not_convert=[name])
    assert bool(list(storage_notes(tree))) != spares


def test_lists_spare_what_transformers_spares():
    tree = qwen2_vl(quant_method="awq", bits=4)
    modules = [path for path, node in tree.root.walk() if node.parameters and path]
    names = [
        "visual",
        "model.visual",
        "lm_head",
        "head",
        "k_proj",
        "mlp",
        "model",
        "norm1",
        "layers.0",
        "attn.proj",
        "x",
    ]
    for name in names:
        spared = [path for path in modules if not should_convert_module(path, [name])]
        noted = list(storage_notes(qwen2_vl(quant_method="awq", bits=4, modules_to_not_convert=[name])))
        assert bool(spared) != bool(noted), name


@pytest.mark.parametrize(
    ("stated", "noted"),
    [("float32", True), ("bfloat16", False), ("torch.float16", True), ("auto", False), (None, False)],
)
@pytest.mark.parametrize("key", ["dtype", "torch_dtype"])
def test_weights_of_another_dtype_are_noted(key, stated, noted):
    notes = record(awq, (), **{key: stated}).notes
    assert any("most of its weights are stored as BF16" in note for note in notes) == noted
