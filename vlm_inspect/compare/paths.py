"""Modules and parameters of two trees, compared path by path after what moved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Generic, Literal, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from vlm_inspect.compare.patterns import ancestors, numbered, pattern_of
from vlm_inspect.compare.renames import find_moves
from vlm_inspect.core.difference import Move, PathChange
from vlm_inspect.core.module_tree import UNKNOWN_CLASS, ModuleNode, Shape, folded_path, is_below, split


def apply_moves(path: str, moves: Iterable[Move]) -> str:
    """Where a path is that the new tree does not have: the longest prefix that moved decides."""
    return placing(moves)(path)


def placing(moves: Iterable[Move]) -> Callable[[str], str]:
    """`apply_moves` for many paths."""
    targets = {pattern_of(move.before): pattern_of(move.after) for move in moves}
    longest = max(map(len, targets), default=-1)

    def place(path: str) -> str:
        if not targets:
            return path
        pattern, numbers = split(path)
        for length in range(min(longest, len(pattern)), -1, -1):
            target = targets.get(pattern[:length])
            if target is not None:
                return ".".join(numbered((*target, *pattern[length:]), numbers))
        return path

    return place


def turned(moves: Iterable[Move]) -> list[Move]:
    """The moves that lead back."""
    return [replace(move, before=move.after, after=move.before) for move in moves]


class Places:
    """Moves, read in both directions: two paths are one where each leads to the other.

    Where moves lie inside one another a path may lead to where another one came from. Such a path is at
    no place: what is decided by one direction alone would be decided otherwise by the other.
    """

    def __init__(self, moves: Collection[Move]) -> None:
        self.there, self._back = placing(moves), placing(turned(moves))

    def are_one(self, old: str, new: str) -> bool:
        """Whether what is at the one path of the old tree moved to the other one of the new tree."""
        return self.there(old) == new and self._back(new) == old

    def pairs(
        self, old: Collection[str], new: Collection[str], may_stay: Callable[[str], bool] = lambda _path: True
    ) -> dict[str, str]:
        """The paths of the old tree that the new one has too, each with its place there; no place twice.

        What both trees have stayed where it is, if it may; of the rest moves lead to places that are left.
        """
        stayed = {path for path in old if path in new and may_stay(path)}
        found = {}
        for path in old:
            place = path if path in stayed else self.there(path)
            if path in stayed or (place in new and place not in stayed and self._back(place) == path):
                found[path] = place
        return found


Value = TypeVar("Value", str, Shape)


class Differing(Struct, Generic[Value], frozen=True):
    """A module or parameter that came, went, or became something else. Paths are whole."""

    old: str | None
    """Its path in the old tree; None where it came."""
    new: str | None
    before: Value | None
    """A module's class, a parameter's shape; None where there was none."""
    after: Value | None

    @property
    def ends(self) -> set[str]:
        """Its paths."""
        return {path for path in (self.old, self.new) if path is not None}

    @property
    def path(self) -> str:
        """The path that it is told by: of what went the old one."""
        return self.new if self.new is not None else self.old or ""

    @property
    def is_changed(self) -> bool:
        """Whether it neither came nor went."""
        return self.old is not None and self.new is not None


ModuleChange = Differing[str]
ParameterChange = Differing[Shape]


def differing(
    old: Mapping[str, Value], new: Mapping[str, Value], pairs: Mapping[str, str]
) -> Iterator[Differing[Value]]:
    """What is not the same, where `pairs` says which path of the new tree is which of the old one."""
    for path, was in old.items():
        place = pairs.get(path)
        if place is None:
            yield Differing(path, None, was, None)
        elif was != new[place]:
            yield Differing(path, place, was, new[place])
    there = set(pairs.values())
    yield from (Differing(None, path, None, now) for path, now in new.items() if path not in there)


def folded(
    what: Literal["module", "parameter"], changes: Iterable[ModuleChange] | Iterable[ParameterChange]
) -> Iterator[PathChange]:
    """Changes of one kind from one pattern of paths to another as one, with their number."""
    counted: Counter[tuple[str | None, ...]] = Counter()
    for change in changes:
        old, new = _pattern(change.old), _pattern(change.new)
        counted[old, new, _said(change.before), _said(change.after)] += 1
    for (old, new, before, after), count in counted.items():
        path = new if new is not None else old or ""
        yield PathChange(path, what, count, before, after, None if old == path or new is None else old)


def outermost(changes: Sequence[ModuleChange]) -> list[ModuleChange]:
    """Without what came or went only because the module above it did."""
    above = gone(changes)
    return [change for change in changes if not is_in(change, above, change.path.rpartition(".")[0])]


def gone(changes: Iterable[ModuleChange]) -> set[tuple[str, bool]]:
    """The modules that went or came, and which of the two."""
    return {(change.path, change.new is None) for change in changes if not change.is_changed}


def is_in(change: ModuleChange | ParameterChange, modules: Collection[tuple[str, bool]], place: str) -> bool:
    """Whether something went or came with a module at or above a place that did the same."""
    return not change.is_changed and any((above, change.new is None) in modules for above in ancestors(place))


def _pattern(path: str | None) -> str | None:
    return None if path is None else folded_path(path)


def _said(value: str | Shape | None) -> str | None:
    return " x ".join(map(str, value)) if isinstance(value, tuple) else value


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
