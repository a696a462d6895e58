"""What was replaced by something of the same shapes is removed and added; what was renamed is a move."""

import math
from collections import Counter
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.compare.conftest import TYPES, modules_of_type, of_config
from tests.compare.trees import (
    node,
    renamed,
    replaced,
    snapshot,
    subtrees,
    trees,
    two_models,
    with_children,
)
from vlm_inspect.compare.compare import compare
from vlm_inspect.compare.paths import compare_paths
from vlm_inspect.core.architecture import Component, Role
from vlm_inspect.core.module_tree import INFERRED, folded_path, is_below

CLIP = {"model_type": "clip_vision_model", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
PIXTRAL = {"model_type": "pixtral", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
LLAMA = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 99}
SIZES = {"intermediate_size": 128}


def llava(vision, text=LLAMA):
    return of_config({"model_type": "llava", "vision_config": vision | SIZES, "text_config": text | SIZES})


def moves(before, after):
    return [(move.before, move.after) for move in compare(before, after).moves]


def roles_of(model):
    return {path: component.role for component in model.architecture.components for path in component.paths}


def test_a_vision_tower_of_another_class_did_not_move():
    assert moves(llava(PIXTRAL), llava(CLIP)) == []


def test_a_norm_does_not_move_from_a_tower_to_a_language_model():
    text = {"model_type": "qwen3", "hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 99} | SIZES
    assert moves(llava(CLIP, LLAMA | {"hidden_size": 32}), of_config(text)) == []


def test_a_language_model_moves_out_of_its_wrapper():
    text = of_config(LLAMA | SIZES)
    assert moves(llava(CLIP), text) == [("model.language_model", "model")]
    assert moves(text, llava(CLIP)) == [("model", "model.language_model")]


def test_one_of_two_equal_towers_that_is_left_did_not_move():
    video = of_config({"model_type": "video_llava", "vision_config": CLIP | SIZES, "text_config": LLAMA | SIZES})
    assert not [ends for ends in moves(video, llava(CLIP)) if "tower" in ends[0]]


@pytest.mark.parametrize("name", TYPES)
def test_a_replaced_subtree_of_a_real_model_did_not_move(name):
    root = modules_of_type(name)
    for pattern in subtrees(root):
        assert moves(snapshot(root), snapshot(replaced(root, pattern, "elsewhere"))) == []


@given(st.data())
def test_a_replaced_subtree_of_any_tree_did_not_move(data):
    root = data.draw(trees().filter(lambda tree: bool(subtrees(tree))))
    pattern = data.draw(st.sampled_from(subtrees(root)))
    assert moves(snapshot(root), snapshot(replaced(root, pattern, "elsewhere"))) == []


@given(st.data())
def test_a_part_with_another_role_did_not_move(data):
    tower = data.draw(trees().filter(has_parameters))
    one = part_of_model("tower", tower, Role.VISION_ENCODER)
    other = part_of_model("elsewhere", tower, Role.AUDIO_ENCODER)
    assert moves(one, other) == []
    assert moves(one, part_of_model("elsewhere", tower, Role.VISION_ENCODER)) == [("tower", "elsewhere")]


def has_parameters(tree):
    return next(tree.parameter_paths(), None) is not None


def part_of_model(name, tower, role):
    root = node("M", [("scale", (7,))], **{name: tower})
    return snapshot(root, components=(Component(role, (name,), tower.class_name, tower.total),))


@given(two_models())
def test_no_move_changes_a_role(both):
    old, new = both
    before, after = (roles_of(model) for model in both)
    for start, end in moves(old, new):
        ends = {folded_path(path): role for path, role in before.items()}.get(start)
        other = {folded_path(path): role for path, role in after.items()}.get(end)
        assert ends == other or None in (ends, other)


@given(two_models())
def test_every_parameter_is_unchanged_or_moved_or_reported_once(both):
    old, new = (dict(model.modules.parameter_paths()) for model in both)
    found = compare_paths(*(model.modules for model in both), *map(roles_of, both))
    gone = Counter(change.old for change in found.parameters if change.old is not None)
    came = Counter(change.new for change in found.parameters if change.new is not None)
    assert {*gone.values(), *came.values()} <= {1}
    stayed = len(old.keys() - gone.keys())
    assert stayed == len(new.keys() - came.keys())
    delta = sum(size(change.after) - size(change.before) for change in found.parameters)
    assert sum(map(size, new.values())) - sum(map(size, old.values())) == delta
    assert sum(move.tensors for move in found.moves) <= stayed


def size(shape):
    return 0 if shape is None else math.prod(shape)


LEAVES = [
    ("norm1", node("Norm", [("weight", (4,))])),
    ("attn", node("Attention", query=node("Linear", [("weight", (4, 4))]), key=node("Linear", [("weight", (4, 4))]))),
    ("norm2", node("Norm", [("weight", (4,))])),
    ("mlp", node("Mlp", up=node("Linear", [("weight", (8, 4))]), down=node("Linear", [("weight", (4, 8))]))),
]


def tower(**names):
    layer = node("Layer", **{names.get(name, name): child for name, child in LEAVES})
    stack = node("ModuleList", **{str(number): layer for number in range(3)})
    return node("Tower", **{names.get("layers", "layers"): stack, "norm": node("Norm", [("weight", (4,))])})


def model(tower_name="tower", class_name="M", **names):
    return node(class_name, **{tower_name: tower(**names), "head": node("Linear", [("weight", (9, 4))])})


RENAMES = {
    "a container": ({"layers": "blocks"}, {("tower.layers", "tower.blocks", 18)}),
    "a container and a leaf": (
        {"layers": "blocks", "norm1": "ln_1"},
        {("tower.layers", "tower.blocks", 15), ("tower.layers.*.norm1", "tower.blocks.*.ln_1", 3)},
    ),
    "two equal leaves, in their order": (
        {"norm1": "ln_1", "norm2": "ln_2"},
        {("tower.layers.*.norm1", "tower.layers.*.ln_1", 3), ("tower.layers.*.norm2", "tower.layers.*.ln_2", 3)},
    ),
    "a tower and two equal leaves": (
        {"tower_name": "visual", "norm1": "ln_1", "norm2": "ln_2"},
        {
            ("tower", "visual", 13),
            ("tower.layers.*.norm1", "visual.layers.*.ln_1", 3),
            ("tower.layers.*.norm2", "visual.layers.*.ln_2", 3),
        },
    ),
    "a module and its container, in a model of another class": (
        {"tower_name": "visual", "class_name": "Other", "attn": "attention"},
        {("tower", "visual", 13), ("tower.layers.*.attn", "visual.layers.*.attention", 6)},
    ),
}


@pytest.mark.parametrize("names", [names for names, _ in RENAMES.values()], ids=[*RENAMES])
@pytest.mark.parametrize("prefix", ["", "model"])
def test_renames_are_found_in_a_model_and_below_a_new_prefix(names, prefix):
    expected = next(found for known, found in RENAMES.values() if known is names)
    after = model(**names)
    if prefix:
        after = node("Wrapper", model=with_children(after, after.children))
    found = compare(snapshot(model()), snapshot(after))
    if not prefix:
        assert {(move.before, move.after, move.tensors) for move in found.moves} == expected
    assert sum(move.tensors for move in found.moves) == (20 if prefix else sum(count for *_, count in expected))
    assert not [change for change in found.paths if change.what == "parameter"]


def test_an_equal_norm_that_is_dropped_leaves_no_proof_which_one_was_renamed():
    dropped = node("Layer", **{name: child for name, child in LEAVES if name not in {"norm1", "norm2"}})
    one = node("M", layer=node("Layer", **dict(LEAVES)))
    other = node("M", layer=with_children(dropped, [("ln", LEAVES[0][1]), *dropped.children]))
    assert moves(snapshot(one), snapshot(other)) == []


# two that any tree gets, so that there always are two subtrees apart from each other
OWN_PARTS = [("one", node("One", [("weight", (7, 11))])), ("other", node("Other", [("weight", (11, 7))]))]


@given(st.data())
def test_two_renames_in_any_tree_are_two_moves(data):
    drawn = data.draw(trees())
    root = with_children(drawn, [*drawn.children, *OWN_PARTS])
    patterns = subtrees(root)
    apart = [pair for pair in product(patterns, patterns) if not any(map(is_below, pair, pair[::-1]))]
    first, second = data.draw(st.sampled_from(apart))
    found = compare(snapshot(root), snapshot(renamed(renamed(root, first, "elsewhere"), second, "another")))
    assert {(move.before, move.after.rpartition(".")[2]) for move in found.moves} == {
        (first, "elsewhere"),
        (second, "another"),
    }
    assert not found.paths


def untyped(module):
    """The tree as headers show it: without class names."""
    return with_children(
        node(INFERRED, module.parameters), [(name, untyped(child)) for name, child in module.children]
    )


@pytest.mark.parametrize(("names", "expected"), RENAMES.values(), ids=[*RENAMES])
def test_renames_are_found_without_class_names(names, expected):
    found = compare(*(snapshot(untyped(root)) for root in (model(), model(**names))))
    assert {(move.before, move.after, move.tensors) for move in found.moves} == expected


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl", "idefics2"])
def test_a_replaced_tower_did_not_move_without_class_names(name):
    root = modules_of_type(name)
    (tower,) = {
        pattern
        for pattern in subtrees(root)
        if pattern in {"model.vision_tower", "model.visual", "model.vision_model"}
    }
    assert moves(snapshot(untyped(root)), snapshot(untyped(replaced(root, tower, "elsewhere")))) == []


def test_a_prefix_that_a_trainer_adds_is_one_move():
    root = modules_of_type("llava")
    inside = node("PeftModel", base_model=node("LoraModel", model=root))
    assert moves(snapshot(root), snapshot(inside)) == [("", "base_model.model")]
    assert moves(snapshot(untyped(inside)), snapshot(untyped(root))) == [("base_model.model", "")]
