"""Packed weights, by packing: the shape in the model, or the reason why it is unknown."""

import pytest

from vlm_inspect.builders.headers import build as header
from vlm_inspect.builders.headers.quantized import Quantisation, model_tensors
from vlm_inspect.core.checkpoint import TensorHeaders, TensorInfo

IN, OUT = 4096, 11008


def headers(tensors):
    return TensorHeaders(tuple(TensorInfo(name, dtype, shape, 64) for name, (dtype, shape) in tensors.items()))


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


@pytest.mark.parametrize(("tensors", "config"), KNOWN.values(), ids=KNOWN)
def test_a_known_packing_gives_the_shape(tensors, config):
    weight = only(tensors, config)
    assert weight.shape == (OUT, IN)
    assert sum(weight.stored.values()) == 64 * len(tensors)


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
    "hqq": {"up.W_q": ("U8", (IN * OUT // 128, 64)), "up.scale": ("F16", (1, 8)), "up.zero": ("F16", (1, 8))},
    "aqlm": {
        "up.codes": ("I16", (OUT, 512, 1)),
        "up.codebooks": ("F16", (1, 65536, 1, 8)),
        "up.scales": ("F16", (OUT,)),
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
    tree = header.build({}, headers(UNKNOWN["hqq"]), "org/name")
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
    assert tree.stored_bytes["up.weight"] == {"F16": 64, "I32": 192}
