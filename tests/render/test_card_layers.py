"""The lines of a card for one kind of layer."""

import math

import pytest

from vlm_inspect.core.architecture import (
    Attention,
    Component,
    Experts,
    Latent,
    Layer,
    LayerStack,
    Loop,
    Mlp,
    Norm,
    Role,
    Rotary,
)
from vlm_inspect.core.stages import NormStage, OtherStage
from vlm_inspect.render.card import component_lines
from vlm_inspect.render.cells import plain_text
from vlm_inspect.render.text.attention import attention_details, positions_cell
from vlm_inspect.render.text.layers import stack_cell


@pytest.mark.parametrize(
    ("attention", "words"),
    [
        (
            Attention(kind="grouped-query", heads=8, key_value_heads=4, head_width=256),
            "grouped-query, 8 heads of 256, 4 key-value heads",
        ),
        (
            Attention(kind="latent", heads=4, head_width=192, latent=Latent(512, 1536, 64, 128)),
            "latent, 4 heads of 192, key-value rank 512, query rank 1536, value heads of 128",
        ),
        (
            Attention(mechanism="state space", heads=4, head_width=64, state_width=128, convolution=4),
            "state space, 4 heads of 64, state size 128, convolution (kernel size 4)",
        ),
        (
            Attention(mechanism="linear attention", heads=48, key_heads=16, head_width=128),
            "linear attention, 48 value heads of 128, 16 key heads",
        ),
        (Attention(mechanism="convolution", convolution=3), "convolution (kernel size 3)"),
        (Attention(cross=True, bias=("query", "value")), "cross-attention, bias on query and value"),
        (Attention(bias=("query", "key", "value", "output")), "bias"),
        (Attention(bias=("output",)), "bias on output"),
        (
            Attention(sliding_window=512, chunk=8, window=14),
            "sliding window of 512, chunks of 8, windows of 14 x 14 patches",
        ),
        (Attention(features=("sinks", "output gate")), "sinks, output gate"),
        (
            Attention(
                head_width=8,
                qk_norm=(Norm("OwnRMSNorm", 8, name="q_norm"), Norm("OwnRMSNorm", 8, name="k_norm")),
            ),
            "q/k norm OwnRMSNorm per head",
        ),
        (
            Attention(head_width=8, qk_norm=(Norm("N", 32, name="q_norm"), Norm("N", 32, name="k_norm"))),
            "q/k norm N over all heads",
        ),
        (Attention(qk_norm=(Norm("L2Norm", name="q_norm"),)), "q/k norm L2Norm on q_norm only"),
    ],
)
def test_attention_details(attention, words):
    assert plain_text(attention_details(attention)) == words


@pytest.mark.parametrize(
    ("rotary", "words"),
    [
        (Rotary(theta=10000.0, width=8), "rotary, theta 10000"),
        (Rotary(kind="yarn", factor=32.0, width=8), "rotary (yarn, factor 32)"),
        (Rotary(kind="linear", factor=1.5, width=8), "rotary (linear, factor 1.5)"),
        (Rotary(theta=math.inf, width=8), "rotary, theta inf"),  # a snapshot file may say so
        (Rotary(kind="axial", width=8), "2D rotary"),
        (Rotary(width=2, sections=(1, 1, 2)), "rotary, 2 of 8 channels, sections of 1, 1, 2"),
    ],
)
def test_rotary_positions(rotary, words):
    assert plain_text(positions_cell(Attention(head_width=8, positions="rotary", rotary=rotary))) == words


def test_other_positions():
    assert plain_text(positions_cell(Attention(positions="relative"))) == "relative position bias"
    assert plain_text(positions_cell(Attention(positions="none"))) == "none in attention"
    assert plain_text(positions_cell(Attention(unknown={"positions": "why"}))) == "unknown (why)"
    assert positions_cell(Attention(mechanism="state space")) is None


def lines_of(layer, **fields):
    component = Component(Role.LANGUAGE_MODEL, stacks=(LayerStack("m.layers", 2, (layer,)),), **fields)
    return [(label.strip(), plain_text(cell)) for label, cell in component_lines(component)]


def test_active_parameters_are_shown_if_they_are_not_all():
    layer = Layer("L", 10)
    assert ("Active", "60 parameters per token") in lines_of(layer, parameters=100, active=60)
    assert "Active" not in dict(lines_of(layer, parameters=100, active=100))
    unknown = lines_of(layer, parameters=100, unknown={"active": "why"})
    assert ("Active", "unknown (why)") in unknown


def test_experts_have_their_own_line():
    experts = Experts(8, 2, 16, 1, 32, "OwnRouter", "sigmoid", 1536)
    lines = dict(lines_of(Layer("L", 10, mlp=Mlp("M", 8, 16, 8, gated=True, experts=(experts,)))))
    assert lines["MLP"] == "M (8 -> 16 -> 8), 8 experts, 2 per token, 1 shared, gated"
    assert lines["Experts"] == "width 16, 1,536 parameters each, router OwnRouter (sigmoid), shared width 32"


def test_experts_of_two_modalities_are_named():
    groups = (Experts(8, 2, modality="text"), Experts(4, 2, modality="vision"))
    lines = dict(lines_of(Layer("L", 10, mlp=Mlp("M", 8, 16, 8, experts=groups))))
    assert lines["MLP"] == "M (8 -> 16 -> 8), 8 text experts, 2 per token, 4 vision experts, 2 per token"


@pytest.mark.parametrize(
    ("placement", "parallel", "words"),
    [
        ("before", False, ", before attention and MLP"),
        ("both", False, ", before and after attention and MLP"),
        ("before", True, ", before attention and MLP, in parallel"),
        (None, False, ""),
    ],
)
def test_norm_placement(placement, parallel, words):
    layer = Layer("L", 10, Attention("A"), Mlp("M"), (Norm("N", name="n"),), placement, parallel)
    assert dict(lines_of(layer))["Norms"] == f"N as n{words}"


def test_extra_attention_has_its_own_lines():
    layer = Layer("L", 10, Attention("A"), extra_attention=(Attention("B", cross=True, positions="none"),))
    lines = lines_of(layer)
    assert ("Also", "B, cross-attention") in lines
    assert ("Positions", "none in attention") in lines


def test_several_stacks_are_listed_by_path():
    stacks = tuple(LayerStack(path, 2, (Layer("L", 5),)) for path in ("encoder.layers", "decoder.layers"))
    lines = [
        plain_text(cell)
        for label, cell in component_lines(Component(Role.LANGUAGE_MODEL, stacks=stacks))
        if label == "Stack"
    ]
    assert lines == ["encoder.layers, 2 layers", "decoder.layers, 2 layers"]


def test_other_modules_are_listed_by_name():
    stages = (NormStage("LayerNorm", "model.norm", width=8, eps=1e-5), OtherStage("Pool", "model.head"))
    lines = dict(lines_of(Layer("L", 5), extra_modules=stages))
    assert lines["Other modules"] == "norm LayerNorm((8,), eps=1e-05), head Pool"


@pytest.mark.parametrize(
    ("stack", "cell", "line"),
    [
        (LayerStack("layers", 4, (Layer("L"),)), "4 layers", None),
        (
            LayerStack("layers", 4, (Layer("L"),), passes=6),
            "4 layers (run 6 times)",
            "run 6 times, with one set of weights",
        ),
        (
            LayerStack("layers", 1, (Layer("L"),), passes=12),
            "1 layer (runs 12 times)",
            "runs 12 times, with one set of weights",
        ),
        (
            LayerStack("layers", 9, (Layer("L"),), loops=(Loop(1, 3, 4), Loop(7, 8, 0))),
            "9 layers (layers 1 to 3 run 4 times, layers 7 to 8 never run)",
            "layers 1 to 3 run 4 times, layers 7 to 8 never run, with one set of weights",
        ),
        (
            LayerStack("layers", 4, (Layer("L"),), loops=(Loop(3, 3, 0),)),
            "4 layers (layer 3 never runs)",
            "layer 3 never runs",
        ),
        (
            LayerStack("layers", 4, (Layer("L"),), passes=None, unknown={"passes": "the caller decides"}),
            "4 layers",
            "unknown (the caller decides)",
        ),
    ],
)
def test_layers_that_do_not_run_once_say_so(stack, cell, line):
    lines = {
        label: plain_text(value) for label, value in component_lines(Component(Role.LANGUAGE_MODEL, stacks=(stack,)))
    }
    assert (plain_text(stack_cell(stack)), lines.get("Passes")) == (cell, line)
