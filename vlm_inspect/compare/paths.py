"""Modules and parameters of two trees, compared path by path after what moved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from vlm_inspect.compare.changes import ModuleChange, ParameterChange, differing
from vlm_inspect.compare.moves import find_moves
from vlm_inspect.compare.patterns import ancestors, folded_path
from vlm_inspect.compare.places import Places, turned
from vlm_inspect.difference import Move
from vlm_inspect.tree import UNKNOWN_CLASS, ModuleNode, is_below


class PathDifference(Struct, frozen=True):
    """Moves, and what is left when they are made. Paths are whole, before they are folded."""

    moves: tuple[Move, ...] = ()
    parameters: tuple[ParameterChange, ...] = ()
    modules: tuple[ModuleChange, ...] = ()
    lasting: frozenset[str] = frozenset()
    """Patterns of paths that both have."""


def compare_paths(before: ModuleNode, after: ModuleNode) -> PathDifference:
    """What moved from one tree to the other, and what else differs."""
    if before is after:
        return PathDifference()
    old, new = dict(before.parameter_paths()), dict(after.parameter_paths())
    removed = {path: shape for path, shape in old.items() if path not in new}
    added = {path: shape for path, shape in new.items() if path not in old}
    moves = find_moves(removed, added, old.keys() & new.keys())
    places = Places(moves)
    return PathDifference(
        moves=moves,
        parameters=tuple(differing(old, new, places.pairs(old, new))),
        modules=tuple(_modules(before, after, moves, places)),
        lasting=_lasting(old, new, places),
    )


def _modules(
    before: ModuleNode, after: ModuleNode, moves: tuple[Move, ...], places: Places
) -> Iterator[ModuleChange]:
    """Modules that differ after the moves; wrappers that moves dissolved or put in went with them."""
    old, new = _classes(before), _classes(after)
    dissolved = set(_wrappers(moves, old, new))
    inserted = set(_wrappers(turned(moves), new, old))
    wrappers = dissolved | inserted

    def is_told(change: ModuleChange) -> bool:
        if change.is_changed:
            return UNKNOWN_CLASS not in (change.before, change.after)
        return folded_path(change.path) not in (dissolved if change.new is None else inserted)

    # what was where a wrapper is now is inside of it
    pairs = places.pairs(old, new, lambda path: not wrappers or folded_path(path) not in wrappers)
    return filter(is_told, differing(old, new, pairs))


def _wrappers(moves: Sequence[Move], old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    """The patterns of the modules around what moved outward: `a.b` → `a` dissolves one of the two.

    Their classes say which: where the new `a` is of the class of the old `a.b`, it was `a`.
    """
    classes = {folded_path(path): name for path, name in old.items()} if moves else {}
    now = {folded_path(path): name for path, name in new.items()} if moves else {}
    for move in moves:
        between = list(_between(move.before, move.after))
        if not between:
            continue
        inner, outer = classes.get(move.before), classes.get(move.after)
        is_outer = now.get(move.after) == inner != outer and move.after
        if is_outer:
            yield from [move.after, *between[:-1]]
        else:  # what is still there is no wrapper that went
            yield from (pattern for pattern in between if pattern not in now)


def _lasting(old: Iterable[str], new: Iterable[str], places: Places) -> frozenset[str]:
    """The patterns that both have of parameters and the modules around them, as each of the two says them."""
    there = _with_modules({folded_path(path) for path in new})
    both: set[str] = set()
    for pattern in _with_modules({folded_path(path) for path in old}):
        if pattern in there:
            both.add(pattern)
        place = places.there(pattern)
        if place in there and places.are_one(pattern, place):
            both |= {pattern, place}
    return frozenset(both)


def _with_modules(patterns: Iterable[str]) -> set[str]:
    return {above for pattern in patterns for above in ancestors(pattern)}


def _between(inner: str, outer: str) -> Iterator[str]:
    """The patterns from below `outer` down to `inner`, where the one lies inside the other."""
    if inner == outer or not is_below(inner, outer):
        return
    parts = inner.split(".")
    first = len(outer.split(".")) if outer else 0
    for length in range(first + 1, len(parts) + 1):
        yield ".".join(parts[:length])


def _classes(root: ModuleNode) -> dict[str, str]:
    return {path: UNKNOWN_CLASS if node.inferred else node.class_name for path, node in root.walk()}
