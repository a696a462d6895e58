"""Differences of real models, and of unknown facts."""

import math

import pytest
from msgspec.structs import replace

from tests.compare.conftest import of_catalogue, of_type
from tests.compare.trees import edited, node, snapshot, with_children, without_pairs
from vlm_inspect.compare.compare import compare, filter_roles
from vlm_inspect.core.architecture import Attention, Component, Experts, Layer, LayerStack, Mlp, Norm, Role
from vlm_inspect.core.difference import Change, KindValue, PathChange

CLIP = "TIGER-Lab/Mantis-8B-clip-llama3"
SIGLIP = "TIGER-Lab/Mantis-8B-siglip-llama3"
PHI3 = "microsoft/Phi-3-vision-128k-instruct"
BASE, TUNED = "HuggingFaceM4/idefics2-8b-base", "HuggingFaceM4/idefics2-8b"
VISION, TEXT, PROJECTOR, HEAD = Role.VISION_ENCODER, Role.LANGUAGE_MODEL, Role.PROJECTOR, Role.LM_HEAD


def test_models_with_different_vision_towers():
    difference = compare(of_catalogue(CLIP), of_catalogue(SIGLIP))
    assert without_pairs(difference.changes) == (
        Change((VISION,), "class", "CLIPVisionModel", "SiglipVisionModel"),
        Change((VISION,), "layers", 24, 27),
        Change((VISION,), "width", 1024, 1152),
        Change((VISION,), "positions", 577, 729),
        Change((VISION,), "image size", (336, 336), (384, 384)),
        Change((VISION,), "module pre_layrnorm", "LayerNorm", None),
        Change((VISION,), "layer class", "CLIPEncoderLayer", "SiglipEncoderLayer"),
        Change((VISION,), "attention", "CLIPAttention", "SiglipAttention"),
        Change((VISION,), "head width", 64, 72),
        Change((VISION,), "MLP", "CLIPMLP", "SiglipMLP"),
        Change((VISION,), "MLP hidden width", 4096, 4304),
        Change((VISION,), "activation", "QuickGELUActivation", "GELUTanh"),
        Change((VISION,), "norm eps", 1e-05, 1e-06),
        Change((VISION,), "module head", None, "SiglipMultiheadAttentionPoolingHead"),
        Change((PROJECTOR,), "input width", 1024, 1152),
    )
    assert (difference.moves, difference.paths, difference.incomparable) == ((), (), ())
    assert [pair.role for pair in difference.pairs] == [VISION, PROJECTOR, TEXT, HEAD]
    for pair in difference.pairs[2:]:
        assert pair.parameters_before == pair.parameters_after
    assert (difference.total_before, difference.total_after) == (8_354_764_800, 8_480_007_232)


def test_the_vocabulary_is_one_change_of_two_components():
    difference = compare(of_catalogue(BASE), of_catalogue(TUNED))
    (change,) = difference.changes
    assert change == Change((TEXT, HEAD), "vocabulary", 32002, 32003, pairs=(2, 3))
    assert [difference.pairs[index].role for index in change.pairs] == [TEXT, HEAD]
    assert difference.counts() == {"changed": 1, "moved": 0, "added": 0, "removed": 0}
    assert (difference.paths, difference.incomparable) == ((), ())


def test_facts_unknown_in_both_models_are_incomparable():
    difference = compare(of_catalogue(PHI3), of_catalogue(PHI3))
    assert difference.empty
    assert {(fact.before, fact.after) for fact in difference.incomparable} == {("remote code", "remote code")}
    expected = {(fact.roles, fact.field) for fact in difference.incomparable}
    assert expected >= {
        ((), "parameters"),
        ((), "module paths"),
        ((VISION,), "class"),
        ((VISION,), "layers"),
        ((TEXT,), "attention"),
        ((PROJECTOR,), "component"),
        ((HEAD,), "component"),
    }


@pytest.mark.parametrize(("before", "after"), [(PHI3, TUNED), (TUNED, PHI3)])
def test_facts_unknown_in_one_model_are_neither_added_nor_removed(before, after):
    difference = compare(of_catalogue(before), of_catalogue(after))
    assert {change.kind for change in difference.changes} == {"changed"}
    fields = {change.field for change in difference.changes}
    assert fields == {"model class", "model type", "width", "key-value heads", "MLP hidden width"}
    assert ((PROJECTOR,), "component") in {(fact.roles, fact.field) for fact in difference.incomparable}
    assert {fact.before is None for fact in difference.incomparable} == {before == TUNED}


def described(*layers, **fields):
    stack = LayerStack("m.layers", 2, layers, tuple(range(len(layers))) if len(layers) > 1 else ())
    component = Component(TEXT, ("m",), "Model", 10, 8, (stack,), **fields)
    return snapshot(node("Top", m=node("Model")), components=(component,))


PLAIN = Layer("L", None, Attention("A", heads=8), Mlp("P", hidden_width=32, activation="gelu"))


def facts(before, after):
    difference = compare(before, after)
    return {change.field: (change.before, change.after) for change in difference.changes}, {
        fact.field for fact in difference.incomparable
    }


@pytest.mark.parametrize(
    ("unknown", "expected"),
    [
        (replace(PLAIN, attention=None, unknown={"attention": "why"}), {"attention", "heads"}),
        (replace(PLAIN, mlp=None, unknown={"mlp": "why"}), {"MLP", "MLP hidden width", "activation"}),
        (replace(PLAIN, attention=Attention(heads=8, unknown={"class_name": "why"})), {"attention"}),
        (
            replace(PLAIN, mlp=Mlp("P", hidden_width=32, unknown={"activation": "why"})),
            {"activation"},
        ),
        (replace(PLAIN, class_name=None, unknown={"class_name": "why"}), {"layer class"}),
    ],
)
def test_an_unknown_part_makes_its_facts_incomparable(unknown, expected):
    assert facts(described(PLAIN), described(unknown)) == ({}, expected)
    assert facts(described(unknown), described(PLAIN)) == ({}, expected)


def test_two_kinds_of_layers_differ_in_the_facts_that_they_do_not_share():
    windowed = replace(PLAIN, attention=replace(PLAIN.attention, sliding_window=512))
    changes, _ = facts(described(PLAIN), described(windowed, PLAIN))
    assert changes == {
        "layer order": (None, ("sliding attention", "full attention")),
        "sliding window": (None, (KindValue("sliding attention", 512),)),
    }
    assert compare(described(windowed, PLAIN), described(windowed, PLAIN)).empty


MOE = replace(PLAIN, mlp=Mlp("Moe", experts=(Experts(8),)))


@pytest.mark.parametrize(
    ("kinds", "names"),
    [
        ((replace(PLAIN, attention=Attention(window=8)), PLAIN), ("window attention", "full attention")),
        ((PLAIN, MOE), ("dense", "mixture of experts")),
        ((PLAIN, replace(PLAIN, attention=Attention(cross=True))), ("self-attention", "cross-attention")),
        ((replace(PLAIN, attention=Attention(mechanism="state space")), PLAIN), ("state space", "full attention")),
        ((replace(PLAIN, attention=Attention(chunk=9)), PLAIN), ("chunked attention", "full attention")),
        ((PLAIN, replace(PLAIN, class_name="Other")), ("L", "Other")),
        # sizes are no names: a model of other sizes has the same kinds
        ((PLAIN, replace(PLAIN, attention=Attention("A", heads=2))), ("kind 1", "kind 2")),
        ((PLAIN, replace(PLAIN, attention=Attention(heads=2))), ("kind 1", "kind 2")),
        ((PLAIN, replace(PLAIN, parameters=7)), ("kind 1", "kind 2")),
    ],
)
def test_kinds_of_layers_are_named_by_what_differs(kinds, names):
    changes, _ = facts(described(PLAIN), described(*kinds))
    assert changes["layer order"] == (None, names)


def test_two_equal_stacks_differ_in_nothing_from_one():
    one, two = of_type("mllama"), of_type("llava")
    names = {change.field for change in compare(one, two).changes if change.roles == (Role.VISION_ENCODER,)}
    assert "layers" in names
    assert "layer class" in names
    assert not {name for name in names if "stack" in name}


def test_a_fact_is_by_kind_or_by_stack_if_it_depends_on_that_alone():
    def layer(heads, window, eps):
        return replace(PLAIN, attention=Attention("A", heads=heads, window=window), norms=(Norm("N", eps=eps),))

    stacks = tuple(
        LayerStack(f"m.{name}.layers", 2, (layer(heads, 8, eps), layer(heads, None, 1.0)), (0, 1))
        for name, heads, eps in (("first", 4, 2.0), ("second", 6, 3.0))
    )
    component = Component(TEXT, ("m",), "Model", 10, 8, stacks)
    changes, _ = facts(described(PLAIN), snapshot(node("Top", m=node("Model")), components=(component,)))
    assert changes["heads"][1] == (KindValue("first", 4), KindValue("second", 6))
    assert changes["attention window"][1] == (KindValue("window attention", 8),)
    assert changes["layer order"][1] == ("window attention", "full attention")
    assert {each.kind: each.value for each in changes["norm eps"][1]} == {
        "first, window attention": 2.0,
        "first, full attention": 1.0,
        "second, window attention": 3.0,
        "second, full attention": 1.0,
    }


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (("m.encoder.layers", "m.decoder.layers"), ("encoder", "decoder")),
        (("m.blocks.0", "m.blocks.1"), ("blocks.0", "blocks.1")),
        (("m.layers", "m.cross_layers"), ("layers", "cross_layers")),
        (("m.layers", "m.global.layers"), ("layers", "global")),
        (("", ""), ("stack 1", "stack 2")),
    ],
)
def test_stacks_are_named_by_the_part_of_their_path_that_differs(paths, names):
    def model(width):
        stacks = tuple(
            LayerStack(path, 2, (replace(PLAIN, mlp=Mlp("P", hidden_width=hidden)),))
            for path, hidden in zip(paths, (8, width), strict=True)
        )
        component = Component(TEXT, ("m",), "Model", 10, 8, stacks)
        return snapshot(node("Top", m=node("Model")), components=(component,))

    changes, _ = facts(model(8), model(16))
    kinds = sorted((KindValue(name, width) for name, width in zip(names, (8, 16), strict=True)), key=str)
    assert changes == {"MLP hidden width": (8, tuple(kinds))}


def test_a_nan_eps_equals_itself():
    layer = replace(PLAIN, norms=(Norm("N", eps=math.nan),))
    assert compare(described(layer), described(replace(layer, norms=(Norm("N", eps=float("nan")),)))).empty


def test_a_component_with_another_path_and_other_shapes_has_a_path_change():
    old, new = of_type("llava"), of_type("idefics2")
    paths = {
        change.roles: (change.before, change.after) for change in compare(old, new).changes if change.field == "path"
    }
    assert paths[(VISION,)] == ("model.vision_tower", "model.vision_model")
    assert (HEAD,) not in paths


def test_an_added_parameter_is_reported_next_to_a_changed_fact():
    """A larger vocabulary explains a larger embedding, but not a new bias."""
    base, tuned = of_catalogue(BASE), of_catalogue(TUNED)
    attention = "model.text_model.layers.*.self_attn"
    biased = node("Linear", [("weight", (4096, 4096)), ("bias", (4096,))])
    modules = edited(
        tuned.modules,
        attention,
        lambda children: [(name, biased if name == "q_proj" else child) for name, child in children],
    )
    difference = compare(base, replace(tuned, modules=modules))
    assert [change.field for change in difference.changes] == ["vocabulary"]
    assert difference.paths == (PathChange(f"{attention}.q_proj.bias", "parameter", 32, None, "4096"),)


def test_more_layers_are_one_change():
    old = of_type("llava")
    modules = edited(old.modules, "model.language_model.layers", lambda children: children[:-2])
    text = old.architecture.by_role(TEXT)[0]
    fewer = replace(text, stacks=(replace(text.stacks[0], count=30),))
    parts = tuple(fewer if part is text else part for part in old.architecture.components)
    new = replace(old, architecture=replace(old.architecture, components=parts), modules=modules)
    difference = compare(old, new)
    assert [(change.field, change.before, change.after) for change in difference.changes] == [("layers", 32, 30)]
    assert not difference.paths


def test_unexplained_parameter_counts_are_reported():
    one = Component(TEXT, ("m",), "Model", 10)
    other = Component(VISION, ("v",), "Tower", 5)
    root = node("Top", m=node("Model"), v=node("Tower"))
    before = snapshot(root, components=(one, other))
    after = snapshot(root, components=(replace(one, parameters=12), other))
    assert without_pairs(compare(before, after).changes) == (Change((TEXT,), "parameters", 10, 12),)


def test_an_added_component():
    part = Component(VISION, ("v",), "Tower", 5)
    root = node("Top", v=node("Tower"))
    difference = compare(snapshot(with_children(root, ())), snapshot(root, components=(part,)))
    assert without_pairs(difference.changes) == (Change((VISION,), "component", None, "Tower"),)
    assert difference.counts() == {"changed": 0, "moved": 0, "added": 1, "removed": 0}


def test_a_difference_of_some_roles():
    difference = compare(of_catalogue(CLIP), of_catalogue(SIGLIP))
    projector = filter_roles(difference, {PROJECTOR})
    assert [change.field for change in projector.changes] == ["input width"]
    assert [projector.pairs[index].role for change in projector.changes for index in change.pairs] == [PROJECTOR]
    assert projector.total_before is None
    assert filter_roles(difference, {TEXT}).empty
    head = filter_roles(compare(of_catalogue(BASE), of_catalogue(TUNED)), {HEAD})
    assert [change.field for change in head.changes] == ["vocabulary"]


def test_only_the_moves_and_paths_of_some_roles():
    old = of_type("llava")
    moved = edited(old.modules, "model", lambda children: [(f"new_{name}", child) for name, child in children])
    parts = tuple(
        replace(part, paths=tuple(path.replace("model.", "model.new_", 1) for path in part.paths))
        for part in old.architecture.components
    )
    new = replace(old, architecture=replace(old.architecture, components=parts), modules=moved)
    difference = compare(old, new)
    assert difference.counts() == {"changed": 0, "moved": 3, "added": 0, "removed": 0}
    (move,) = filter_roles(difference, {VISION}).moves
    assert (move.before, move.after) == ("model.vision_tower", "model.new_vision_tower")
    assert filter_roles(difference, {HEAD}).empty
