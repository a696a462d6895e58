"""A rename anywhere in a model is one move and no other change."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.compare.conftest import TYPES, modules_of_type
from tests.compare.trees import (
    below,
    edited,
    models,
    node,
    renamed,
    snapshot,
    subtrees,
    trees,
    with_children,
    wrapped,
)
from tests.examples import in_full
from vlm_inspect.compare.compare import compare
from vlm_inspect.compare.paths import path_mapper
from vlm_inspect.compare.rename_evidence import Side
from vlm_inspect.compare.renames import votes
from vlm_inspect.core.architecture import Component, Role
from vlm_inspect.core.difference import Move
from vlm_inspect.core.module_tree import NodePool, folded_path


def assert_one_move(old, new, before, after, count):
    difference = compare(snapshot(old), snapshot(new))
    assert difference.moves == (Move(before, after, count),)
    assert not difference.changes
    assert not difference.paths
    assert_moves_apply(old, new, difference.moves)


def assert_moves_apply(old, new, moves):
    there, new_path = dict(new.parameter_paths()), path_mapper(moves)
    assert {path if path in there else new_path(path) for path, _ in old.parameter_paths()} == {*there}


@pytest.mark.parametrize("name", TYPES)
def test_any_renamed_subtree_of_a_real_model_is_one_move(name):
    root = modules_of_type(name)
    for pattern in subtrees(root):
        moved = f"{pattern.rpartition('.')[0]}.elsewhere".lstrip(".")
        assert_one_move(root, renamed(root, pattern, "elsewhere"), pattern, moved, len(below(root, pattern)))


@pytest.mark.parametrize("name", TYPES)
def test_any_added_or_removed_wrapper_is_one_move(name):
    root = modules_of_type(name)
    for pattern in subtrees(root):
        if root_of(root, pattern).parameters or not root_of(root, pattern).children:
            continue
        inside = wrapped(root, pattern, "wrapper")
        count = len(below(root, pattern))
        assert_one_move(root, inside, pattern, f"{pattern}.wrapper", count)
        assert_one_move(inside, root, f"{pattern}.wrapper", pattern, count)


def root_of(root, pattern):
    """The first module at a pattern."""
    return next(module for path, module in root.walk() if folded_path(path) == pattern)


def test_a_wrapper_around_a_module_is_one_move_too():
    tower = node("Tower", [("weight", (2,))], layer=node("Linear", [("weight", (3, 3))]))
    bare, inside = node("M", tower=tower), node("M", tower=node("Wrapper", inner=tower))
    assert_one_move(bare, inside, "tower", "tower.inner", 2)
    assert_one_move(inside, bare, "tower.inner", "tower", 2)


def test_a_whole_model_can_move():
    model = node("M", tower=node("T", [("weight", (2,))]), head=node("Linear", [("weight", (3, 3))]))
    inside = node("M", model=with_children(model, model.children))
    assert_one_move(model, inside, "", "model", 2)
    assert_one_move(inside, model, "model", "", 2)


def test_of_nested_modules_with_one_name_the_class_decides_which_was_removed():
    inner = node("Transformer", layer=node("Linear", [("weight", (3, 3))]), norm=node("N", [("weight", (3,))]))
    other = node("Linear", [("weight", (4, 4))])
    old = node("M", model=node("Base", vision=node("Tower", vision=inner), text=other))
    new = node("M", model=node("Base", vision=with_children(node("Tower"), inner.children), text=other))
    assert_one_move(old, new, "model.vision.vision", "model.vision", 2)
    assert_one_move(new, old, "model.vision", "model.vision.vision", 2)


def test_a_renamed_parameter_is_a_move_of_itself():
    old, new = (node("M", norm=node("N", [(name, (3,))])) for name in ("weight", "scale"))
    (move,) = compare(snapshot(old), snapshot(new)).moves
    assert move == Move("norm.weight", "norm.scale", 1, "parameter")


def test_equal_shapes_alone_are_no_move():
    old = node("M", left=node("A", one=node("L", [("weight", (3,))])))
    new = node("M", right=node("B", two=node("K", [("bias", (3,))])))
    difference = compare(snapshot(old), snapshot(new))
    assert not difference.moves
    assert difference.counts() == {"changed": 0, "moved": 0, "added": 1, "removed": 1}


def test_a_move_and_a_change_inside_it_are_both_reported():
    def model(name, width):
        tower = node("T", a=node("L", [("weight", (2, 2))]), b=node("L", [("weight", (4, width))]))
        return node("M", **{name: tower})

    difference = compare(snapshot(model("old", 4)), snapshot(model("new", 5)))
    assert [(move.before, move.after) for move in difference.moves] == [("old", "new")]
    (change,) = difference.paths
    assert (change.path, change.before, change.after) == ("new.b.weight", "4 x 4", "4 x 5")
    assert change.moved_from == "old.b.weight"


@given(st.data())
def test_any_renamed_subtree_of_any_tree_is_one_move(data):
    root = data.draw(trees().filter(lambda tree: bool(subtrees(tree))))
    pattern = data.draw(st.sampled_from(subtrees(root)))
    moved = f"{pattern.rpartition('.')[0]}.elsewhere".lstrip(".")
    assert_one_move(root, renamed(root, pattern, "elsewhere"), pattern, moved, len(below(root, pattern)))


@given(st.data())
def test_any_renamed_subtree_of_any_model_moves_its_components(data):
    root = data.draw(trees().filter(lambda tree: bool(subtrees(tree))))
    pattern = data.draw(st.sampled_from(subtrees(root)))
    old = data.draw(models(root))
    moved = f"{pattern.rpartition('.')[0]}.elsewhere".lstrip(".")
    move = Move(pattern, moved, len(below(root, pattern)))
    new = snapshot(
        renamed(root, pattern, "elsewhere"),
        model_class=old.architecture.model_class,
        components=tuple(
            replace(each, paths=tuple(path_mapper([move])(path) for path in each.paths))
            for each in old.architecture.components
        ),
    )
    difference = compare(old, new)
    assert difference.moves == (move,)
    assert not difference.changes
    assert not difference.paths


# a comparison whose time grows with the square of the parameters does not finish here
LAYERS = 80 if in_full() else 40


def large(layers=LAYERS, *, root="model", expert="expert", names=("up", "gate", "down"), shape=(8, 8)):
    """Up to 20,160 parameters of one shape, under names that do not fold into patterns."""
    pool = NodePool()
    leaf = pool.node("Expert", parameters=tuple((name, shape) for name in names))
    layer = pool.node("Layer", children=tuple((f"{expert}_{index}", leaf) for index in range(84)))
    model = pool.node("Model", children=tuple((f"layer_{index}", layer) for index in range(layers)))
    return pool.node("Top", children=((root, model),))


@pytest.mark.parametrize("layers", [25, LAYERS])
@pytest.mark.parametrize(
    ("changed", "moves", "moves_per_layer"),
    [
        ({"root": "elsewhere"}, 1, 0),
        ({"expert": "specialist"}, 0, 84),
        ({"names": ("w1", "w2", "w3")}, 0, 84 * 3),
        ({"shape": (8, 9)}, 0, 0),
    ],
)
def test_a_very_large_model_is_compared(layers, changed, moves, moves_per_layer):
    difference = compare(snapshot(large(layers)), snapshot(large(layers, **changed)))
    assert len(difference.moves) == moves + moves_per_layer * layers
    assert not difference.empty


@pytest.mark.parametrize("changed", [{"root": "elsewhere"}, {"expert": "specialist"}, {"names": ("a", "b", "c")}])
@pytest.mark.parametrize("layers", [4, 16, 25, 32, 40])
def test_the_number_of_compared_pairs_grows_no_faster_than_the_model(layers, changed):
    old, new = dict(large(layers).parameter_paths()), dict(large(layers, **changed).parameter_paths())
    pairs = {pair for found in votes(Side(old, ()), Side(new, ())).values() for pair in found}
    assert len(old) <= len(pairs) <= 8 * len(old)


def test_folded_experts_are_one_move():
    pool = NodePool()
    expert = pool.node("Expert", parameters=(("up", (8, 8)), ("down", (8, 8))))
    experts = pool.node("List", children=tuple((str(index), expert) for index in range(128)))
    layer = pool.node("Layer", children=(("experts", experts),))
    layers = pool.node("List", children=tuple((str(index), layer) for index in range(200)))
    old = pool.node("M", children=(("layers", layers),))
    new = edited(old, "layers.*", lambda children: [("moe", child) for _, child in children])
    assert_one_move(old, new, "layers.*.experts", "layers.*.moe", 51_200)


def test_a_tower_that_got_a_wrapper_inside_is_still_the_same_component_both_ways():
    tower = node("Tower", layer=node("Linear", [("weight", (4, 4)), ("bias", (4,))]))
    other = node("Other", neck=node("Conv2d", [("weight", (7, 7))]))
    plain = snapshot(node("M", vision_model=tower), components=(vision("vision_model", "Tower", 20),))
    wrapped = snapshot(
        node("M", extra=other, vision_model=node("Wrapper", vision_model=tower)),
        components=(vision("extra", "Other", 49), vision("vision_model", "Wrapper", 20)),
    )
    for before, after in ((plain, wrapped), (wrapped, plain)):
        pairs = {(pair.before, pair.after) for pair in compare(before, after).pairs}
        assert ("vision_model", "vision_model") in pairs


def vision(path, class_name, parameters):
    return Component(Role.VISION_ENCODER, (path,), class_name, parameters)
