"""Properties of the comparison of any two models."""

from collections import Counter
from itertools import combinations

import pytest
from hypothesis import example, given
from msgspec.structs import replace

from tests.compare.conftest import TYPES, of_type
from tests.compare.trees import node, snapshot, trees, two_models, two_trees, without_pairs
from tests.examples import examples
from vlm_inspect.compare.compare import compare, filter_roles
from vlm_inspect.compare.paths import path_mapper
from vlm_inspect.core.architecture import Role
from vlm_inspect.core.module_tree import NodePool, folded_path

LEAF = node("L", [("w", (2,))])


def swapped(record):
    return replace(record, before=record.after, after=record.before)


def swapped_path(change):
    """The same change of a path in the reverse comparison."""
    if change.moved_from is None:
        return swapped(change)
    return replace(swapped(change), path=change.moved_from, moved_from=change.path)


def as_sets(difference, turn=lambda record: record, turn_path=lambda change: change):
    return {
        "changes": Counter(turn(change) for change in without_pairs(difference.changes)),
        "moves": Counter(turn(move) for move in difference.moves),
        "paths": Counter(turn_path(change) for change in difference.paths),
        "incomparable": Counter(turn(fact) for fact in without_pairs(difference.incomparable)),
        "pairs": Counter((*sorted_ends(pair, flipped=turn is swapped), pair.role) for pair in difference.pairs),
    }


def sorted_ends(pair, *, flipped):
    ends = [(pair.before, pair.parameters_before, pair.class_before, pair.layers_before)]
    ends += [(pair.after, pair.parameters_after, pair.class_after, pair.layers_after)]
    return reversed(ends) if flipped else ends


def assert_mirrored(before, after):
    there, back = compare(before, after), compare(after, before)
    assert as_sets(there) == as_sets(back, swapped, swapped_path)
    counts = there.counts()
    assert back.counts() == counts | {"added": counts["removed"], "removed": counts["added"]}
    for roles in ({Role.VISION_ENCODER}, {Role.PROJECTOR, Role.LANGUAGE_MODEL}, {Role.OTHER}):
        assert as_sets(filter_roles(there, roles)) == as_sets(filter_roles(back, roles), swapped, swapped_path)


def copy(root, pool):
    """The same tree with nodes of another pool."""
    children = tuple((name, copy(child, pool)) for name, child in root.children)
    return pool.node(root.class_name, parameters=root.parameters, children=children)


EITHER_OF_TWO_MOVES = (
    node("M", [("weight", (2,))], c=node("L", [("bias", (2,))])),
    node("M", [("bias", (2,))], a=node("M", [("weight", (2,))], c=node("L", [("weight", (2,))]))),
)
MODULE_CALLED_AS_A_PARAMETER = (
    node("N", [("b", (2,))], b=node("L", [("w", (2,)), ("b", (2,))])),
    node("W", [("b", (2,))], a=node("M", [("w", (2,))])),
)
A_MOVE_BELOW_A_MOVE = (
    node("L", c=node("L", [("b", (3, 2))], c=LEAF, b=node("L", [("b", (2, 3))], a=LEAF))),
    node("L", b=node("L", [("b", (3, 2))], a=node("L", [("b", (2, 3))], a=LEAF))),
)


@given(trees())
def test_a_tree_does_not_differ_from_itself(root):
    assert compare(snapshot(root), snapshot(root)).empty
    assert compare(snapshot(root), snapshot(copy(root, NodePool()))).empty


@given(two_models())
def test_a_model_does_not_differ_from_itself(both):
    assert all(compare(model, replace_modules(model)).empty for model in both)


def replace_modules(model):
    return replace(model, modules=copy(model.modules, NodePool()))


@examples(3)
@given(two_trees())
@example(EITHER_OF_TWO_MOVES)
@example(MODULE_CALLED_AS_A_PARAMETER)
@example(A_MOVE_BELOW_A_MOVE)
def test_the_reverse_comparison_mirrors_the_comparison(both):
    assert_mirrored(*map(snapshot, both))


@examples(2)
@given(two_models())
def test_the_reverse_comparison_mirrors_the_comparison_of_models_with_components(both):
    assert_mirrored(*both)


@examples(2)
@given(two_trees())
@example(A_MOVE_BELOW_A_MOVE)
def test_a_move_covers_as_many_parameters_as_it_states(both):
    old, new = (dict(root.parameter_paths()) for root in both)
    moves = compare(*map(snapshot, both)).moves
    moved = [path for path in old.keys() - new.keys() if new.get(path_mapper(moves)(path)) == old[path]]
    assert len(moved) >= sum(move.tensors for move in moves)


@examples(1.5)
@given(two_trees())
def test_every_removed_path_is_moved_or_reported(both):
    old, new = both
    difference = compare(snapshot(old), snapshot(new))
    there = dict(new.parameter_paths())
    reported = {change.path for change in difference.paths}
    for path, shape in old.parameter_paths():
        if path not in there:
            place = path_mapper(difference.moves)(path)
            ends = [folded_path(path), folded_path(place)]
            above = {end[:length] for end in ends for length in range(len(end) + 1)}
            assert there.get(place) == shape or above & reported


@given(two_trees())
def test_no_two_moves_share_an_end(both):
    moves = compare(*map(snapshot, both)).moves
    assert len({move.before for move in moves}) == len(moves) == len({move.after for move in moves})
    assert all(move.tensors > 0 for move in moves)


def test_a_real_model_does_not_differ_from_itself(model):
    again = replace(model)
    difference = compare(model, again)
    assert difference.empty
    assert not difference.incomparable
    assert [pair.before for pair in difference.pairs] == [pair.after for pair in difference.pairs]


@pytest.mark.parametrize(("old", "new"), list(combinations(TYPES, 2)))
def test_real_models_mirror(old, new):
    assert_mirrored(of_type(old), of_type(new))
