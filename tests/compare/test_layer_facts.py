"""Every fact of a layer takes part in a comparison."""

import pytest
from msgspec.structs import fields, replace

from tests.compare.test_facts import described
from vlm_inspect.compare.compare import compare
from vlm_inspect.core.architecture import Attention, Experts, Latent, Layer, Loop, Mlp, Norm, Rotary

ROTARY = Rotary("R", "default", 64, (16, 24, 24), 1e4)
EXPERTS = Experts(8, 2, 16, 1, 32, "Router", "softmax", 1536, "mlp.experts")
ATTENTION = Attention("A", "latent", 8, 4, 64, latent=Latent(512, 256, 64, 128), positions="rotary", rotary=ROTARY)
MLP = Mlp("P", 8, 16, 8, gated=True, activation="silu", experts=(EXPERTS,))
LAYER = Layer("L", 100, ATTENTION, MLP, (Norm("N", 8, 1e-6, "norm"),), "before")


def changes(after):
    difference = compare(described(LAYER), described(after))
    return {change.field: (change.before, change.after) for change in difference.changes}


def attention(**fields):
    return replace(LAYER, attention=replace(ATTENTION, **fields))


def experts(**fields):
    return replace(LAYER, mlp=replace(MLP, experts=(replace(EXPERTS, **fields),)))


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (attention(mechanism="linear attention"), {"mechanism": (None, "linear attention")}),
        (attention(latent=Latent(256, 256, 64, 128)), {"key-value rank": (512, 256)}),
        (
            attention(qk_norm=(Norm("Q", 64, name="q_norm"),)),
            {"q/k norm": (None, ("Q",)), "q/k norm width": (None, 64)},
        ),
        (attention(bias=("query",)), {"attention bias": (None, ("query",))}),
        (
            attention(rotary=replace(ROTARY, kind="yarn", factor=4.0)),
            {"rotary kind": ("default", "yarn"), "rotary factor": (None, 4.0)},
        ),
        (attention(rotary=replace(ROTARY, sections=())), {"rotary sections": ((16, 24, 24), None)}),
        (attention(rotary=replace(ROTARY, class_name="Renamed")), {}),
        (attention(window=8), {"attention window": (None, 8)}),
        (attention(chunk=8), {"attention chunk": (None, 8)}),
        (attention(features=("sinks",)), {"attention features": (None, ("sinks",))}),
        (attention(convolution=4), {"convolution": (None, 4)}),
        (attention(key_heads=2), {"key heads": (None, 2)}),
        (
            experts(router="Other", scoring="sigmoid"),
            {"router": ("Router", "Other"), "router scoring": ("softmax", "sigmoid")},
        ),
        (experts(shared_width=64), {"shared expert width": (32, 64)}),
        (experts(count=16), {"experts": (8, 16)}),
        (replace(LAYER, norm_placement="both"), {"norm placement": ("before", "both")}),
        (replace(LAYER, parallel=True), {"parallel": (None, True)}),
        (
            replace(LAYER, extra_attention=(Attention("B", heads=2),)),
            {"mixer 2 attention": (None, "B"), "mixer 2 heads": (None, 2)},
        ),
    ],
)
def test_a_changed_field_is_reported_under_the_name_of_its_fact(after, expected):
    assert changes(after) == expected


def test_groups_of_experts_are_named_by_their_modality():
    groups = (replace(EXPERTS, modality="text"), replace(EXPERTS, modality="vision", count=4))
    before = replace(LAYER, mlp=replace(MLP, experts=groups))
    after = replace(LAYER, mlp=replace(MLP, experts=(groups[0], replace(groups[1], count=2))))
    (change,) = compare(described(before), described(after)).changes
    assert (change.field, change.before, change.after) == ("vision experts", 4, 2)


@pytest.mark.parametrize(
    ("unknown", "expected"),
    [
        (replace(LAYER, norm_placement=None, unknown={"norm_placement": "why"}), {"norm placement"}),
        (attention(positions=None, rotary=None, unknown={"positions": "why"}), {"attention positions"}),
        (experts(per_token=None, unknown={"per_token": "why"}), {"experts per token"}),
    ],
)
def test_unknown_fields_are_incomparable(unknown, expected):
    for before, after in ((LAYER, unknown), (unknown, LAYER), (unknown, unknown)):
        difference = compare(described(before), described(after))
        assert expected <= {fact.field for fact in difference.incomparable}
        assert expected.isdisjoint(change.field for change in difference.changes)


# reasons, paths, and fields that other facts determine
NOT_COMPARED = {"unknown", "parameters", "path", "modality", "input_width", "output_width", "class_name"}


def test_passes_through_layers_are_compared():
    once = described(LAYER)
    (part,) = once.architecture.components
    (stack,) = part.stacks

    def changed(**fields):
        parts = (replace(part, stacks=(replace(stack, **fields),)),)
        difference = compare(once, replace(once, architecture=replace(once.architecture, components=parts)))
        changes = {change.field: (change.before, change.after) for change in difference.changes}
        return changes, {fact.field: fact.after for fact in difference.incomparable}

    assert changed() == ({}, {})
    assert changed(passes=3) == ({"passes": (None, 3)}, {})
    assert changed(loops=(Loop(0, 1, 4),)) == ({"loops": (None, ("layers 0 to 1 x 4",))}, {})
    assert changed(passes=None, unknown={"passes": "the caller decides"})[1] == {"passes": "the caller decides"}


@pytest.mark.parametrize("record", [ATTENTION, EXPERTS, ROTARY, MLP, LAYER], ids=lambda record: type(record).__name__)
def test_every_field_is_compared_or_excluded(record):
    """A new field of these records belongs in `layer_facts`, or in NOT_COMPARED."""
    known = {
        Attention: "class_name kind heads key_value_heads head_width cross sliding_window chunk window"
        " mechanism latent qk_norm bias positions rotary features state_width convolution key_heads",
        Experts: "count per_token hidden_width shared shared_width router scoring",
        Rotary: "kind width sections theta factor",
        Mlp: "class_name hidden_width gated activation experts",
        Layer: "class_name attention mlp norms norm_placement parallel extra_attention",
    }[type(record)].split()
    assert {each.name for each in fields(record)} == {*known} | ({each.name for each in fields(record)} & NOT_COMPARED)


def test_projections_of_the_layer_itself_are_an_mlp():
    assert changes(replace(LAYER, mlp=replace(MLP, class_name=None)))["MLP"] == ("P", "Linears of the layer")
    assert changes(replace(LAYER, mlp=None))["MLP"] == ("P", None)
    unknown = replace(LAYER, mlp=replace(MLP, class_name=None, unknown={"class_name": "why"}))
    assert "MLP" not in changes(unknown)
