"""Quantized repositories: the method is reported, and the model's own parameters are counted."""

import inspect
import json
import re

import pytest
from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

from tests.published import KIMI_K2_5, LLAVA_1_5_7B
from vlm_inspect.anatomy.describe import describe
from vlm_inspect.anatomy.quantization import quantization_of
from vlm_inspect.anatomy.stored_weights import SKIP_LISTS
from vlm_inspect.app import api
from vlm_inspect.builders.transformers import build
from vlm_inspect.core.architecture import Quantization, QuantizedGroup
from vlm_inspect.core.codec import architecture_from_data, to_data
from vlm_inspect.core.model_ref import ModelIdentity
from vlm_inspect.render.text.warnings import quantization_text

GROUP = {"targets": ["Linear"], "input_activations": None}
# as quantizers write them
CONFIGS = {
    "gptq": (
        {
            "quant_method": "gptq",
            "bits": 4,
            "group_size": 128,
            "desc_act": False,
            "checkpoint_format": "marlin",
        },
        Quantization("gptq", 4, None, (128,), "marlin"),
    ),
    "gptq without groups": (
        {"quant_method": "gptq", "bits": 8, "group_size": -1},
        Quantization("gptq", 8),
    ),
    "awq": (
        {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "GEMM", "zero_point": True},
        Quantization("awq", 4, None, (128,), "gemm"),
    ),
    "bitsandbytes 4": (
        {
            "quant_method": "bitsandbytes",
            "load_in_4bit": True,
            "load_in_8bit": False,
            "bnb_4bit_quant_type": "nf4",
            "bnb_4bit_compute_dtype": "bfloat16",
            "bnb_4bit_quant_storage": "uint8",
        },
        Quantization("bitsandbytes", 4, "nf4"),
    ),
    "bitsandbytes 8": (
        {"quant_method": "bitsandbytes", "load_in_8bit": True, "bnb_4bit_quant_type": "fp4"},
        Quantization("bitsandbytes", 8, "int"),
    ),
    "bitsandbytes without a method": ({"load_in_8bit": True}, Quantization("bitsandbytes", 8, "int")),
    "compressed-tensors": (
        {
            "quant_method": "compressed-tensors",
            "format": "pack-quantized",
            "config_groups": {"group_0": {**GROUP, "weights": {"num_bits": 4, "type": "int", "group_size": 32}}},
            "ignore": ["lm_head"],
        },
        Quantization("compressed-tensors", 4, "int", (32,), "pack-quantized"),
    ),
    "compressed-tensors of two widths": (
        {
            "quant_method": "compressed-tensors",
            "format": "mixed-precision",
            "config_groups": {
                "group_0": {**GROUP, "weights": {"num_bits": 4, "type": "int"}},
                "group_1": {**GROUP, "weights": {"num_bits": 8, "type": "int"}},
            },
        },
        Quantization(
            "compressed-tensors",
            None,
            "int",
            (),
            "mixed-precision",
            groups=(QuantizedGroup(4, "int", (), ("Linear",)), QuantizedGroup(8, "int", (), ("Linear",))),
        ),
    ),
    "fp8 in blocks": (
        {
            "quant_method": "fp8",
            "fmt": "e4m3",
            "activation_scheme": "dynamic",
            "weight_block_size": [128, 128],
        },
        Quantization("fp8", 8, "e4m3", (128, 128)),
    ),
    "fbgemm": (
        {"quant_method": "fbgemm_fp8", "activation_scale_ub": 1200.0},
        Quantization("fbgemm_fp8", 8),
    ),
    "mxfp4": ({"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]}, Quantization("mxfp4", 4)),
    "modelopt": (
        {"quant_method": "modelopt", "quant_algo": "NVFP4", "group_size": 16},
        Quantization("modelopt", 4, "nvfp4", (16,)),
    ),
    "torchao": (
        {
            "quant_method": "torchao",
            "quant_type": {"default": {"_type": "Int4WeightOnlyConfig", "_data": {"group_size": 128}}},
        },
        Quantization("torchao", 4, "int4", (128,)),
    ),
    "hqq": (
        {"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 4, "group_size": 64}}},
        Quantization("hqq", 4, None, (64,)),
    ),
    "quanto": ({"quant_method": "quanto", "weights": "int8"}, Quantization("quanto", 8, "int8")),
    "modelopt of two formats": (
        {
            "quant_method": "modelopt",
            "quant_algo": "MIXED_PRECISION",
            "config_groups": {
                "group_0": {"weights": {"num_bits": 8, "type": "float"}, "targets": ["a"]},
                "group_1": {"weights": {"num_bits": 4, "type": "float", "group_size": 16}, "targets": ["b"]},
            },
        },
        Quantization(
            "modelopt",
            number="float",
            groups=(QuantizedGroup(8, "float", (), ("a",)), QuantizedGroup(4, "float", (16,), ("b",))),
        ),
    ),
    "modelopt by layer": (
        {
            "quant_method": "modelopt",
            "quant_algo": "MIXED_PRECISION",
            "quantized_layers": {
                "model.layers.0.mlp": {"quant_algo": "FP8"},
                "model.layers.1.mlp": {"quant_algo": "NVFP4", "group_size": 16},
            },
        },
        Quantization(
            "modelopt",
            groups=(
                QuantizedGroup(8, "fp8", (), ("model.layers.0.mlp",)),
                QuantizedGroup(4, "nvfp4", (16,), ("model.layers.1.mlp",)),
            ),
        ),
    ),
    "two groups of the same settings": (
        {
            "quant_method": "compressed-tensors",
            "config_groups": {
                name: {**GROUP, "weights": {"num_bits": 4, "type": "int", "group_size": 32}} for name in ("a", "b")
            },
        },
        Quantization("compressed-tensors", 4, "int", (32,)),
    ),
    "autoround of two widths": (
        {
            "quant_method": "auto-round",
            "bits": 4,
            "group_size": 128,
            "data_type": "int",
            "extra_config": {"model.layers.0.mlp.gate": {"bits": 8}, "model.layers.1.mlp.gate": {"bits": 8}},
            "packing_format": "auto_round:auto_gptq",
        },
        Quantization(
            "auto-round",
            None,
            "int",
            (128,),
            "auto_round:auto_gptq",
            groups=(
                QuantizedGroup(4, "int", (128,)),
                QuantizedGroup(8, "int", (128,), ("model.layers.0.mlp.gate", "model.layers.1.mlp.gate")),
            ),
        ),
    ),
    "gptq of two widths": (
        {"quant_method": "gptq", "bits": 4, "group_size": 128, "dynamic": {"+:.*down": {"bits": 8, "group_size": 64}}},
        Quantization(
            "gptq",
            groups=(QuantizedGroup(4, None, (128,)), QuantizedGroup(8, None, (64,), ("+:.*down",))),
        ),
    ),
    "gptq that skips modules": (
        {"quant_method": "gptq", "bits": 4, "group_size": 128, "dynamic": {"-:.*visual": {}}},
        Quantization("gptq", 4, None, (128,)),
    ),
    # codebooks: no number of bits is declared
    "aqlm": (
        {"quant_method": "aqlm", "nbits_per_codebook": 16, "num_codebooks": 1},
        Quantization("aqlm"),
    ),
}
SMALL_LLAVA = {
    **LLAVA_1_5_7B,
    "text_config": {**LLAVA_1_5_7B["text_config"], "hidden_size": 64, "num_hidden_layers": 2},
}


@pytest.mark.parametrize(("config", "expected"), CONFIGS.values(), ids=CONFIGS)
def test_methods(config, expected):
    assert quantization_of({"quantization_config": config}) == expected


@pytest.mark.parametrize("config", [config for config, _ in CONFIGS.values()], ids=CONFIGS)
def test_quantization_does_not_change_parameters(config):
    plain = build.build(SMALL_LLAVA, "org/name")
    packed = build.build({**SMALL_LLAVA, "quantization_config": config}, "org/name")
    assert list(packed.root.parameter_paths()) == list(plain.root.parameter_paths())
    assert quantization_of(packed.config) == quantization_of({"quantization_config": config})


# settings without which a configuration class of transformers is not made
NEEDED = {
    "gptq": {"bits": 4},
    "bitsandbytes_4bit": {"load_in_4bit": True},
    "bitsandbytes_8bit": {"load_in_8bit": True},
    "spqr": {"shapes": {}},
}
METHODS = sorted(AUTO_QUANTIZATION_CONFIG_MAPPING)
OF_ANOTHER_PACKAGE = {
    "compressed-tensors",
    "hqq",
    "quark",
    "torchao",
}  # their classes are only made where it is installed
WITHOUT_BITS = {"aqlm", "bitnet", "gguf", "vptq"}  # codebooks and ternary values have no whole number of bits


@pytest.mark.parametrize("name", [name for name in METHODS if name not in OF_ANOTHER_PACKAGE])
def test_every_method_of_transformers_is_read(name):
    made = AUTO_QUANTIZATION_CONFIG_MAPPING[name](**NEEDED.get(name, {}))
    found = quantization_of(json.loads(json.dumps({"quantization_config": made.to_dict()})))
    assert found.method in {name, name.partition("_")[0], "fp8"}
    assert (found.bits is None) == (name in WITHOUT_BITS)


@pytest.mark.parametrize("name", METHODS)
def test_every_list_of_modules_that_a_method_leaves_out_is_read(name):
    parameters = inspect.signature(AUTO_QUANTIZATION_CONFIG_MAPPING[name].__init__).parameters
    lists = {each for each in parameters if re.search("not_to|to_not|skip|ignore|exclude", each)}
    assert lists <= {*SKIP_LISTS, "use_optimized_inference"}


def test_experts_of_another_dtype_are_a_group_of_their_own():
    config = {"quant_method": "fp8", "weight_block_size": [128, 128], "expert_dtype": "fp4"}
    assert [each.bits for each in quantization_of({"quantization_config": config}).groups] == [8, 4]
    assert not quantization_of({"quantization_config": {**config, "expert_dtype": "fp8"}}).groups


def test_hqq_writes_the_settings_of_single_modules():
    layers = {
        name: {"weight_quant_params": {"nbits": bits, "group_size": size}, "scale_quant_params": None}
        for name, bits, size in (("self_attn.q_proj", 4, 64), ("self_attn.k_proj", 4, 64), ("mlp.up_proj", 3, 32))
    }
    found = quantization_of({"quantization_config": {"quant_method": "hqq", "quant_config": layers}})
    assert quantization_text(found) == "hqq, 4 bits, groups of 64 + 3 bits, groups of 32"
    assert found.groups[0].targets == ("self_attn.q_proj", "self_attn.k_proj")


def test_mlx_writes_no_method():
    config = {"quantization": {"group_size": 64, "bits": 8}}
    assert quantization_of(config) == Quantization("mlx", 8, None, (64,), path="quantization")


def test_mlx_writes_the_bits_of_single_modules():
    config = {
        "quantization": {
            "group_size": 64,
            "bits": 4,
            "language_model.model.embed_tokens": {"group_size": 64, "bits": 8},
            "vision_tower.patch": False,
        }
    }
    assert quantization_of(config).groups == (
        QuantizedGroup(4, None, (64,)),
        QuantizedGroup(8, None, (64,), ("language_model.model.embed_tokens",)),
    )


TEXTS = {
    "modelopt of two formats": "modelopt, 8 bits, float + 4 bits, float, groups of 16",
    "autoround of two widths": (
        "auto-round, 4 bits, int, groups of 128 + 8 bits, int, groups of 128, auto_round:auto_gptq"
    ),
    "fp8 in blocks": "fp8, 8 bits, e4m3, blocks of 128 x 128",
    "aqlm": "aqlm",
}


@pytest.mark.parametrize("name", TEXTS)
def test_all_bits_are_written(name):
    assert quantization_text(quantization_of({"quantization_config": CONFIGS[name][0]})) == TEXTS[name]


def test_quantization_of_a_part_has_its_path():
    tree = build.build(KIMI_K2_5, "org/name")
    record = describe(tree, ModelIdentity("org/name"), "transformers")
    assert record.quantization == Quantization(
        "compressed-tensors", 4, "int", (32,), "pack-quantized", "text_config.quantization_config"
    )
    assert architecture_from_data(to_data(record)) == record
    assert record.parameters.total == 1_026_879_353_328


@pytest.mark.parametrize("key", ["quantization_config", "quantization", "compression_config"])
@pytest.mark.parametrize("config", [None, {}, [], "gptq", 7, {"bits": True}, {"quant_method": 7}])
def test_settings_without_a_method_are_none(key, config):
    assert quantization_of({key: config}) is None


def test_settings_that_are_switched_off_are_none():
    config = {"quant_method": "bitsandbytes", "load_in_4bit": False, "load_in_8bit": False}
    assert quantization_of({"quantization_config": config}) is None


def test_a_record_from_the_configuration_alone_has_its_quantization(tmp_path):
    config = {
        "model_type": "internvl_chat",
        "architectures": ["InternVLChatModel"],
        "auto_map": {"AutoModel": "modeling_internvl_chat.InternVLChatModel"},
        "llm_config": {"hidden_size": 2048, "num_hidden_layers": 24},
        "quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm"},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    record = api.inspect(str(tmp_path))
    assert record.builder == "config"
    assert record.quantization == Quantization("awq", 4, None, (128,), "gemm")
