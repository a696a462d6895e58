"""Norm placement, from the order in which a layer's code uses its modules."""

import math

import pytest

from tests.anatomy.layer_parts import attention, layer, linear, mlp, part, read, rms_norm
from vlm_inspect.anatomy.layers.norms import read_norm

NORM = rms_norm(32)
PARTS = {"a": NORM, "attn": attention(), "b": NORM, "mlp": mlp(), "c": NORM, "d": NORM}


@pytest.mark.parametrize(
    ("uses", "where", "parallel"),
    [
        (("a", "attn", "b", "mlp"), "before", False),
        (("attn", "a", "mlp", "b"), "after", False),
        (("a", "attn", "b", "c", "mlp", "d"), "both", False),
        (("a", "attn", "mlp"), "before", True),
        (("a", "attn"), "before", False),
    ],
)
def test_placement(uses, where, parallel):
    record = read(layer(uses, **{name: PARTS[name] for name in dict.fromkeys(uses)}))
    assert (record.norm_placement, record.parallel) == (where, parallel)


@pytest.mark.parametrize("eps", [math.nan, math.inf, "1e-6", True])
def test_an_eps_that_is_not_a_number_is_none(eps):
    assert read_norm("norm", part("SomeRMSNorm", {"weight": (32,)}, {"eps": eps})).eps is None
    assert read_norm("norm", part("SomeRMSNorm", {"weight": (32,)}, {"eps": 1})).eps == 1.0


def test_cross_attention_is_a_separate_step():
    uses = ("attn", "a", "cross_attn", "b", "mlp", "c")
    modules = {**PARTS, "cross_attn": attention()}
    assert read(layer(uses, **{name: modules[name] for name in uses})).norm_placement == "after"


def test_norms_of_sublayers_are_the_layers_if_it_has_none():
    output = part("SomeOutput", (), (), ("dense", "LayerNorm"), dense=linear(32, 32), LayerNorm=NORM)
    wrapper = part("SomeAttention", (), (), ("self", "output"), self=attention("SomeSelfAttention"), output=output)
    last = part("SomeOutput", (), (), ("dense", "LayerNorm"), dense=linear(96, 32), LayerNorm=NORM)
    record = read(
        layer(
            ("attention", "intermediate", "output"),
            attention=wrapper,
            intermediate=linear(32, 96),
            output=last,
        )
    )
    assert record.norm_placement == "after"
    assert [norm.name for norm in record.norms] == ["attention.output.LayerNorm", "output.LayerNorm"]


def test_norms_of_queries_and_inside_mixers_are_not_the_layers():
    node = attention(q_norm=rms_norm(8), k_norm=rms_norm(8))
    mixer = part("SomeMamba", {"A_log": (4,), "D": (4,)}, (), ("norm", "out_proj"), norm=NORM, out_proj=linear(32, 32))
    assert read(layer(("attn", "mlp"), attn=node, mlp=mlp())).norms == ()
    record = read(layer(("norm", "mixer"), norm=NORM, mixer=mixer))
    assert (record.norm_placement, [norm.name for norm in record.norms]) == ("before", ["norm"])


def test_the_placement_is_unknown_without_code():
    record = read(layer((), a=NORM, attn=attention(), b=NORM, mlp=mlp()))
    assert record.norm_placement is None
    assert "norm_placement" in record.unknown


def test_a_layer_scale_is_not_a_step():
    scale = part("LayerScale", {"lambda1": (32,)})
    uses = ("a", "attn", "scale", "b", "mlp", "scale2")
    modules = {**PARTS, "scale": scale, "scale2": scale}
    assert read(layer(uses, **{name: modules[name] for name in uses})).norm_placement == "before"
