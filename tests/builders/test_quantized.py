"""Packed weights, by packing: the shape in the model, or the reason why it is unknown."""

import math

import pytest

from tests.sparse import BITS
from vlm_inspect.builders.headers import build as header
from vlm_inspect.builders.headers.packings import Quantisation
from vlm_inspect.builders.headers.quantized import model_tensors
from vlm_inspect.core.checkpoint import TensorHeaders, TensorInfo

IN, OUT = 4096, 11008


def headers(tensors):
    return TensorHeaders(
        tuple(
            TensorInfo(name, dtype, shape, math.prod(shape) * BITS[dtype] // 8)
            for name, (dtype, shape) in tensors.items()
        )
    )


def only(tensors, config):
    found = model_tensors(headers(tensors), Quantisation.of_config(config))
    assert [each.name for each in found if not each.name.endswith("bias")] == ["up.weight"]
    return found[0]


GPTQ = {
    "up.qweight": ("I32", (IN // 8, OUT)),
    "up.qzeros": ("I32", (IN // 128, OUT // 8)),
    "up.scales": ("F16", (IN // 128, OUT)),
    "up.g_idx": ("I32", (IN,)),
}
AWQ = {
    "up.qweight": ("I32", (IN, OUT // 8)),
    "up.qzeros": ("I32", (IN // 128, OUT // 8)),
    "up.scales": ("F16", (IN // 128, OUT)),
}
COMPRESSED = {
    "up.weight_packed": ("I32", (OUT, IN // 8)),
    "up.weight_scale": ("BF16", (OUT, IN // 128)),
    "up.weight_shape": ("I64", (2,)),
}
INT4 = {"config_groups": {"group_0": {"weights": {"num_bits": 4, "group_size": 128}}}}
KNOWN = {
    "gptq with the order of its groups": (GPTQ, {}),
    "gptq by its bits": (
        {name: value for name, value in GPTQ.items() if name != "up.g_idx"},
        {"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128}},
    ),
    "awq": (AWQ, {"quantization_config": {"quant_method": "awq", "bits": 4}}),
    "awq without bits": (AWQ, {}),
    "compressed-tensors": (
        COMPRESSED,
        {"quantization_config": {"quant_method": "compressed-tensors", **INT4}},
    ),
    "compressed-tensors in a part's configuration": (
        COMPRESSED,
        {"text_config": {"quantization_config": INT4}},
    ),
    "nvfp4": (
        {
            "up.weight_packed": ("U8", (OUT, IN // 2)),
            "up.weight_scale": ("F8_E4M3", (OUT, IN // 16)),
            "up.weight_global_scale": ("F32", (1,)),
            "up.input_global_scale": ("F32", (1,)),
        },
        {},
    ),
    "fp8 by blocks": (
        {"up.weight": ("F8_E4M3", (OUT, IN)), "up.weight_scale_inv": ("F32", (OUT // 128, IN // 128))},
        {},
    ),
    "fp8 with an input scale": (
        {
            "up.weight": ("F8_E4M3", (OUT, IN)),
            "up.weight_scale": ("F32", (1,)),
            "up.input_scale": ("F32", (1,)),
        },
        {},
    ),
    "bitsandbytes, 8 bits": (
        {"up.weight": ("I8", (OUT, IN)), "up.SCB": ("F32", (OUT,)), "up.weight_format": ("U8", ())},
        {},
    ),
    "mlx, 4 bits": (
        {
            "up.weight": ("U32", (OUT, IN // 8)),
            "up.scales": ("F16", (OUT, IN // 64)),
            "up.biases": ("F16", (OUT, IN // 64)),
        },
        {"quantization": {"group_size": 64, "bits": 4}},
    ),
    "mlx, a module of its own bits": (
        {
            "up.weight": ("U32", (OUT, IN // 4)),
            "up.scales": ("F16", (OUT, IN // 32)),
            "up.biases": ("F16", (OUT, IN // 32)),
        },
        {"quantization": {"group_size": 64, "bits": 4, "up": {"group_size": 32, "bits": 8}, "down": False}},
    ),
}


# as the libraries wrote them for nn.Linear(256, 384): tensors by their names in the module
SMALL = (384, 256)
HQQ_SCALARS = {
    **dict.fromkeys(("nbits", "group_size", "axis"), ("I32", ())),
    "shape": ("I64", (2,)),
    "packing": ("U8", (7,)),
    "unpack_view_dtype": ("U8", (11,)),
    "compute_dtype": ("U8", (13,)),
    **dict.fromkeys(
        (
            *("view_as_float", "quant_scale", "quant_zero", "offload_meta", "encoded_state_dict"),
            *("stores_quant_config", "channel_wise", "optimize", "round_zero"),
        ),
        ("U8", ()),
    ),
}


def hqq(packed, groups, dtype="U8"):
    return {"W_q": (dtype, packed), "scale": ("F16", (groups, 1)), "zero": ("F16", (groups, 1)), **HQQ_SCALARS}


QUANTO_SCALES = {"input_scale": ("F32", ()), "output_scale": ("F32", ())}
LIBRARIES = {
    # hqq 0.2.8
    "hqq, 4 bits": (hqq((768, 64), 1536), {}),
    "hqq, 3 bits": (hqq((154, 64), 1536, "I32"), {}),
    "hqq, 2 bits in groups of 16": (hqq((1536, 16), 6144), {}),
    "hqq, 8 bits": (hqq((768, 128), 768), {}),
    "hqq, 1 bit": (hqq((192, 64), 1536), {}),
    # bitsandbytes 0.50
    "nf4": (
        {
            "weight": ("U8", (49152, 1)),
            "weight.absmax": ("F32", (1536,)),
            "weight.quant_map": ("F32", (16,)),
            "weight.quant_state.bitsandbytes__nf4": ("U8", (79,)),
        },
        {},
    ),
    "nf4, double": (
        {
            "weight": ("U8", (49152, 1)),
            "weight.absmax": ("U8", (1536,)),
            "weight.quant_map": ("F32", (16,)),
            "weight.nested_absmax": ("F32", (6,)),
            "weight.nested_quant_map": ("F32", (256,)),
            "weight.quant_state.bitsandbytes__nf4": ("U8", (169,)),
        },
        {},
    ),
    "nf4, stored as bfloat16": (
        {"weight": ("BF16", (24576, 1)), "weight.absmax": ("F32", (1536,)), "weight.quant_map": ("F32", (16,))},
        {},
    ),
    # optimum-quanto 0.2.7
    "quanto, int8": ({"weight._data": ("I8", SMALL), "weight._scale": ("F32", (384, 1)), **QUANTO_SCALES}, {}),
    "quanto, float8": ({"weight._data": ("F8_E4M3", SMALL), "weight._scale": ("F32", (384, 1)), **QUANTO_SCALES}, {}),
    "quanto, int4": (
        {
            "weight._data._data": ("U8", (384, 128)),
            "weight._scale": ("F32", (768, 1)),
            "weight._shift": ("F32", (768, 1)),
            **QUANTO_SCALES,
        },
        {"weights": "int4"},
    ),
    # torchao 0.18, flattened for safetensors
    "torchao, int8": (
        {
            "_weight_qdata": ("I8", SMALL),
            "_weight_scale": ("F32", (384, 1)),
            "_weight_zero_point": ("I8", (384, 1)),
        },
        {},
    ),
    "torchao, float8": ({"_weight_qdata": ("F8_E4M3", SMALL), "_weight_scale": ("F32", (384, 1))}, {}),
    # compressed-tensors 0.20
    "pack-quantized, asymmetric": (
        {
            "weight_packed": ("I32", (384, 32)),
            "weight_scale": ("BF16", (384, 2)),
            "weight_shape": ("I64", (2,)),
            "weight_zero_point": ("I32", (48, 2)),
        },
        INT4,
    ),
    "pack-quantized, 8 bits by channel": (
        {
            "weight_packed": ("I32", (384, 64)),
            "weight_scale": ("BF16", (384, 1)),
            "weight_shape": ("I64", (2,)),
        },
        {"config_groups": {"group_0": {"weights": {"num_bits": 8}}}},
    ),
    "float-quantized by tensor": ({"weight": ("F8_E4M3", SMALL), "weight_scale": ("BF16", (1,))}, {}),
    "float-quantized by block": ({"weight": ("F8_E4M3", SMALL), "weight_scale": ("BF16", (3, 2))}, {}),
    "nvfp4-pack-quantized": (
        {
            "weight_packed": ("U8", (384, 128)),
            "weight_scale": ("F8_E4M3", (384, 16)),
            "weight_global_scale": ("F32", (1,)),
        },
        {},
    ),
    "mxfp4-pack-quantized": ({"weight_packed": ("U8", (384, 128)), "weight_scale": ("U8", (384, 8))}, {}),
}
# by the code of transformers' quantisers, and by published checkpoints
DOCUMENTED = {
    "modelopt nvfp4": (
        {
            "weight": ("U8", (384, 128)),
            "weight_scale": ("F8_E4M3", (384, 16)),
            "weight_scale_2": ("F32", ()),
            "input_scale": ("F32", ()),
        },
        {"quant_method": "modelopt", "quant_algo": "NVFP4"},
    ),
    "modelopt int4 awq": (
        {"weight": ("U8", (192, 256)), "weight_scale": ("BF16", (384, 2)), "pre_quant_scale": ("BF16", (256,))},
        {"quant_method": "modelopt", "quant_algo": "W4A16_AWQ"},
    ),
    "mxfp4 in bytes": (
        {"weight": ("U8", (384, 128)), "weight_scale": ("U8", (384, 8))},
        {"quant_method": "quark"},
    ),
    "mxfp4 in signed bytes": ({"weight": ("I8", (384, 128)), "weight_scale": ("F8_E8M0", (384, 8))}, {}),
    "experts of fp8 in 4 bits": ({"weight": ("I8", (384, 128)), "weight_scale_inv": ("F8_E8M0", (384, 8))}, {}),
    "mxfp8": ({"weight": ("F8_E4M3", SMALL), "weight_scale_inv": ("F8_E8M0", (384, 8))}, {"quant_method": "mxfp8"}),
    "scaled fp8 in one file": (
        {"weight": ("F8_E4M3", SMALL), "scale_weight": ("F32", (1,)), "scale_input": ("F32", (1,))},
        {},
    ),
    "fbgemm": (
        {"weight": ("F8_E4M3", SMALL), "weight_scale": ("F32", (384, 1)), "input_scale_ub": ("F32", ())},
        {"quant_method": "fbgemm_fp8"},
    ),
    "aqlm": (
        {
            "codes": ("I16", (384, 32, 1)),
            "codebooks": ("F16", (1, 65536, 1, 8)),
            "scales": ("F16", (384, 1, 1, 1)),
        },
        {"quant_method": "aqlm"},
    ),
    "vptq": (
        {
            "indices": ("I32", (1, 32, 300)),
            "centroids.weight": ("BF16", (1, 524288)),
            "weight_scale": ("BF16", (256,)),
            "weight_bias": ("BF16", (256,)),
            "perm": ("U16", (256,)),
        },
        {"quant_method": "vptq", "config_for_layers": {"up": {"in_features": 256, "out_features": 384}}},
    ),
    "higgs": (
        {
            "weight": ("I16", (96, 256)),
            "scales": ("F16", (384, 1)),
            "tables": ("F16", (16,)),
            "tables2": ("F16", (16, 16, 2)),
        },
        {"quant_method": "higgs", "bits": 4},
    ),
    "eetq": ({"weight": ("I8", (256, 384)), "weight_scales": ("F16", (384,))}, {"quant_method": "eetq"}),
    "bitnet": ({"weight": ("U8", (96, 256)), "weight_scale": ("BF16", (1,))}, {"quant_method": "bitnet"}),
    "fp-quant": (
        {"qweight": ("U8", (384, 128)), "scales": ("U8", (384, 8)), "weight_global_scale": ("F32", (1,))},
        {"quant_method": "fp_quant"},
    ),
    "gemma, 2 bits": (
        {
            "weight": ("U8", (384, 64)),
            "weight_scale": ("F32", (384, 1)),
            "input_activation_scale": ("F32", ()),
            "output_activation_scale": ("F32", ()),
        },
        {"quant_method": "gemma", "num_bits": 4, "module_quant_configs": {"up": {"num_bits": 2}}},
    ),
    "metal": (
        {"weight": ("U32", (384, 32)), "scales": ("F16", (384, 4)), "qbiases": ("F16", (384, 4))},
        {"quant_method": "metal", "bits": 4, "group_size": 64},
    ),
    "mlx, mxfp4": (
        {"weight": ("U32", (384, 32)), "scales": ("U8", (384, 8))},
        {"mode": "mxfp4", "bits": 4, "group_size": 32},
    ),
    "autoround": (
        {
            "qweight": ("I32", (64, 384)),
            "qzeros": ("I32", (2, 96)),
            "scales": ("F16", (2, 384)),
        },
        {"quant_method": "auto-round", "bits": 4, "group_size": 128, "extra_config": {"up": {"bits": 8}}},
    ),
    "exl2": (
        {
            "q_weight": ("I32", (40, 384)),
            "q_scale": ("I32", (8, 48)),
            "q_scale_max": ("F16", (8,)),
            "q_groups": ("I16", (16,)),
            "q_invperm": ("I32", (256,)),
        },
        {},
    ),
    "exl3": (
        {"trellis": ("I16", (16, 24, 64)), "suh": ("F16", (256,)), "svh": ("F16", (384,))},
        {"quant_method": "exl3", "bits": 4.0},
    ),
    "torchao, tiles of int4": (
        {"_weight_qdata": ("I32", (48, 2, 32, 4)), "_weight_scale_and_zero": ("BF16", (2, 384, 2))},
        {"quant_method": "torchao"},
    ),
}


def small_weight(tensors, config, *, bias):
    named = {f"up.{name}": each for name, each in tensors.items()} | ({"up.bias": ("F16", (384,))} if bias else {})
    return only(named, {"quantization_config": config} if config else {})


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize(
    ("tensors", "config"), [*LIBRARIES.values(), *DOCUMENTED.values()], ids=[*LIBRARIES, *DOCUMENTED]
)
def test_a_layout_of_a_library_gives_the_shape_or_the_count(tensors, config, bias):
    weight = small_weight(tensors, config, bias=bias)
    assert weight.shape == SMALL or (not bias and weight.shape is None and weight.count == 384 * 256 and weight.reason)
    assert weight.quantised
    assert sum(weight.stored.values()) == headers(tensors).total_bytes


@pytest.mark.parametrize("packed", [LIBRARIES["nf4, double"][0], LIBRARIES["hqq, 4 bits"][0]], ids=["nf4", "hqq"])
@pytest.mark.parametrize("norm", ["input_layernorm", "self_attn.q_norm"])
def test_layers_give_packed_projections_their_shapes(packed, norm):
    names = {"self_attn.q_proj": SMALL, "mlp.up_proj": SMALL, "mlp.down_proj": (256, 384), "self_attn.rel": None}
    layer = {f"layers.0.{module}.{name}": each for module in names for name, each in packed.items()}
    layer[f"layers.0.{norm}.weight"] = ("F32", (256,))
    found = {each.name: each.shape for each in model_tensors(headers(layer), Quantisation())}
    known = norm == "input_layernorm"
    expected = {f"layers.0.{module}.weight": shape if known else None for module, shape in names.items()}
    assert expected.items() <= found.items()


MIXED = {
    "config_groups": {
        "group_0": {"targets": ["re:.*up"], "weights": {"num_bits": 4, "group_size": 64}},
        "group_1": {"targets": ["re:.*down"], "weights": {"num_bits": 8, "group_size": 128}},
    }
}


@pytest.mark.parametrize(("bits", "group"), [(4, 64), (8, 128)])
def test_groups_of_other_bits_are_told_apart_by_their_scales(bits, group):
    tensors = {
        "up.weight_packed": ("I32", (384, 256 * bits // 32)),
        "up.weight_scale": ("BF16", (384, 256 // group)),
        "up.weight_shape": ("I64", (2,)),
    }
    assert only(tensors, {"quantization_config": MIXED}).shape == SMALL


def test_fused_experts_in_bytes_are_unpacked():
    tensors = {
        "experts.gate_up_proj": ("U8", (8, 512, 64)),
        "experts.gate_up_proj_weight_scale": ("F8_E4M3", (8, 512, 8)),
        "experts.gate_up_proj_weight_scale_2": ("F32", (8,)),
        "experts.down_proj": ("U8", (8, 128, 128)),
        "experts.down_proj_weight_scale": ("F8_E4M3", (8, 128, 16)),
        "experts.down_proj_weight_scale_2": ("F32", (8,)),
    }
    experts = header.build({}, headers(tensors), "org/name").find("experts")
    assert dict(experts.parameters) == {"gate_up_proj": (8, 512, 128), "down_proj": (8, 128, 256)}


def test_a_quantised_embedding_is_unpacked():
    tensors = {
        "embed_tokens.embedding_quantized": ("U8", (1000, 32)),
        "embed_tokens.embedding_scale": ("F32", (1000, 1)),
    }
    config = {"quantization_config": {"quant_method": "gemma", "num_bits": 4}}
    node = header.build(config, headers(tensors), "org/name").find("embed_tokens")
    assert (node.class_name, node.attribute("num_embeddings"), node.attribute("embedding_dim")) == (
        "Embedding",
        1000,
        64,
    )


@pytest.mark.parametrize("dtype", ["U8", "I32", "F16", "F8_E4M3"])
def test_plain_weights_of_any_dtype_are_never_unpacked(dtype):
    tensors = {"up.weight": (dtype, SMALL), "up.bias": ("F16", (384,))}
    weight = only(tensors, {})
    assert weight.shape in (SMALL, None)
    assert weight.quantised == (dtype != "F16")


@pytest.mark.parametrize(("tensors", "config"), KNOWN.values(), ids=KNOWN)
def test_a_known_packing_gives_the_shape(tensors, config):
    weight = only(tensors, config)
    assert weight.shape == (OUT, IN)
    assert sum(weight.stored.values()) == headers(tensors).total_bytes
    assert weight.quantised


FOUR_BITS = {
    "up.weight": ("U8", (OUT * IN // 2, 1)),
    "up.weight.absmax": ("U8", (OUT * IN // 64,)),
    "up.weight.quant_map": ("F32", (16,)),
    "up.weight.nested_absmax": ("F32", (OUT * IN // 64 // 256,)),
    "up.weight.nested_quant_map": ("F32", (256,)),
    "up.weight.quant_state.bitsandbytes__nf4": ("U8", (80,)),
}


def test_four_bits_in_a_row_have_a_count_and_no_shape():
    weight = only(FOUR_BITS, {})
    assert (weight.shape, weight.count) == (None, OUT * IN)
    assert "not the shape" in weight.reason


def test_four_bits_with_a_bias_have_a_shape():
    assert only({**FOUR_BITS, "up.bias": ("F16", (OUT,))}, {}).shape == (OUT, IN)


def test_four_bits_in_a_row_count_towards_the_total():
    tree = header.build({}, headers(FOUR_BITS), "org/name")
    assert tree.total == OUT * IN
    assert not tree.unknowns.shapes


UNKNOWN = {
    "hqq without its scale": {"up.W_q": ("U8", (IN * OUT // 128, 64)), "up.zero": ("F16", (1, 8))},
    "spqr": {
        "up.dense_weights": ("I64", (OUT * IN * 3 // 64,)),
        "up.row_offsets": ("I32", (OUT + 1,)),
        "up.in_perm": ("I16", (IN,)),
    },
    "vptq without its sizes": {
        "up.indices": ("I32", (1, 512, OUT)),
        "up.centroids.weight": ("BF16", (1, 524288)),
    },
    "integers alone": {"up.weight": ("U8", (OUT, IN // 2))},
    "mlx without its sizes": {"up.weight": ("U32", (OUT, IN // 8)), "up.scales": ("F16", (OUT, 1))},
}


@pytest.mark.parametrize("tensors", UNKNOWN.values(), ids=UNKNOWN)
def test_an_unknown_packing_has_no_shape_and_a_reason(tensors):
    weight = only(tensors, {"quantization_config": {"quant_method": "its own"}})
    assert weight.shape is None
    assert weight.count is None
    assert "(its own)" in weight.reason


def test_contradictory_sizes_give_no_shape():
    tensors = KNOWN["mlx, 4 bits"][0]
    assert only(tensors, {"quantization": {"group_size": 64, "bits": 8}}).shape is None


def test_an_unknown_packing_is_a_reason_for_unknown_counts():
    tree = header.build({}, headers(UNKNOWN["spqr"]), "org/name")
    assert list(tree.unknowns.shapes) == ["up.weight"]


def test_microscaled_experts_are_unpacked():
    tensors = {
        "mlp.experts.gate_up_proj_blocks": ("U8", (32, 5760, 90, 16)),
        "mlp.experts.gate_up_proj_scales": ("U8", (32, 5760, 90)),
        "mlp.experts.gate_up_proj_bias": ("BF16", (32, 5760)),
        "mlp.experts.down_proj_blocks": ("U8", (32, 2880, 90, 16)),
        "mlp.experts.down_proj_scales": ("U8", (32, 2880, 90)),
    }
    tree = header.build({}, headers(tensors), "org/name")
    experts = tree.find("mlp.experts")
    assert experts.shape("gate_up_proj") == (32, 5760, 2880)
    assert dict(experts.attributes) == {"num_experts": 32, "hidden_dim": 2880, "intermediate_dim": 2880}


def test_an_mlx_convolution_has_its_channels_last():
    tensors = TensorHeaders(
        (TensorInfo("patch_embedding.weight", "F16", (1152, 14, 14, 3), 64),), metadata={"format": "mlx"}
    )
    node = header.build({}, tensors, "org/name").find("patch_embedding")
    assert (node.attribute("in_channels"), node.attribute("kernel_size")) == (3, (14, 14))


def test_quantised_and_plain_weights_can_be_mixed():
    plain = {"norm.weight": ("F16", (IN,)), "head.weight": ("F16", (100, IN))}
    tree = header.build({}, headers({**GPTQ, **plain}), "org/name")
    assert tree.total == IN * OUT + IN + 100 * IN
    assert tree.stored_bytes["up.weight"] == {
        "F16": 2 * IN * OUT // 128,
        "I32": IN * OUT // 2 + IN * OUT // 256 + 4 * IN,
    }
