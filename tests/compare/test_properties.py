"""What holds of any two models."""

from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.compare.conftest import TYPES, of_type
from tests.compare.trees import snapshot, trees
from vlm_inspect.compare import apply_moves, compare
from vlm_inspect.compare.patterns import folded_path


def turned(record):
    return replace(record, before=record.after, after=record.before)


def as_sets(difference, turn=lambda record: record):
    return {
        "changes": {turn(change) for change in difference.changes},
        "moves": {turn(move) for move in difference.moves},
        "incomparable": {turn(fact) for fact in difference.incomparable},
        "pairs": {(*sorted_ends(pair, flipped=turn is turned), pair.role) for pair in difference.pairs},
    }


def sorted_ends(pair, *, flipped):
    ends = [(pair.before, pair.parameters_before, pair.class_before, pair.layers_before)]
    ends += [(pair.after, pair.parameters_after, pair.class_after, pair.layers_after)]
    return reversed(ends) if flipped else ends


def turned_paths(difference, moves, there):
    """The changes of paths the other way round; of what changed the place in the tree with those patterns."""
    return {
        turned(change)
        if change.kind != "changed" or change.path in there
        else replace(turned(change), path=apply_moves(change.path, moves))
        for change in difference.paths
    }


def patterns(root):
    return {folded_path(path) for path, _ in root.walk()} | {
        folded_path(path) for path, _ in root.parameter_paths()
    }


def assert_mirrored(before, after):
    there, back = compare(before, after), compare(after, before)
    assert as_sets(there) == as_sets(back, turned)
    counts = there.counts()
    assert back.counts() == counts | {"added": counts["removed"], "removed": counts["added"]}
    known = patterns(after.modules)
    assert set(there.paths) == turned_paths(back, there.moves, known)


@given(trees())
def test_a_tree_does_not_differ_from_itself(root):
    assert compare(snapshot(root), snapshot(root)).empty


@settings(max_examples=300, deadline=None)
@given(trees(), trees())
def test_the_way_back_mirrors_the_way_there(old, new):
    assert_mirrored(snapshot(old), snapshot(new))


@settings(max_examples=300, deadline=None)
@given(trees(), trees())
def test_moves_lead_to_the_new_paths_or_the_paths_are_told(old, new):
    difference = compare(snapshot(old), snapshot(new))
    there = dict(new.parameter_paths())
    told = {change.path for change in difference.paths}
    for path, shape in old.parameter_paths():
        if path not in there:
            place = apply_moves(path, difference.moves)
            ends = [folded_path(path), folded_path(place)]
            above = {end[:length] for end in ends for length in range(len(end) + 1)}
            assert there.get(place) == shape or above & told


@given(st.data())
def test_no_path_moves_twice_or_to_where_another_does(data):
    old, new = data.draw(trees()), data.draw(trees())
    moves = compare(snapshot(old), snapshot(new)).moves
    assert len({move.before for move in moves}) == len(moves) == len({move.after for move in moves})
    assert all(move.parameters > 0 for move in moves)


def test_a_real_model_does_not_differ_from_itself(model):
    again = replace(model)
    difference = compare(model, again)
    assert difference.empty
    assert not difference.incomparable
    assert [pair.before for pair in difference.pairs] == [pair.after for pair in difference.pairs]


@pytest.mark.parametrize(("old", "new"), list(combinations(TYPES, 2)))
def test_real_models_mirror(old, new):
    assert_mirrored(of_type(old), of_type(new))
