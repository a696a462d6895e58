"""Modules and parameters of two trees, compared path by path after what moved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from vlm_inspect.compare.moves import find_moves, placing
from vlm_inspect.compare.patterns import ancestors, folded_path
from vlm_inspect.difference import Move, PathChange
from vlm_inspect.tree import UNKNOWN_CLASS, ModuleNode, Shape, is_below

Value = TypeVar("Value")
ParameterChange = tuple[str, Shape | None, Shape | None]
ModuleChange = tuple[str, str | None, str | None]


@dataclass(frozen=True, slots=True)
class PathDifference:
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
    place = placing(moves)

    def where(path: str) -> str:
        return path if path in new else place(path)

    return PathDifference(
        moves=moves,
        parameters=tuple(_differing(old, new, where)),
        modules=tuple(_modules(before, after, moves)),
        lasting=_lasting(old, new, where),
    )


def folded(
    what: Literal["module", "parameter"], changes: Sequence[ModuleChange] | Sequence[ParameterChange]
) -> Iterator[PathChange]:
    """Changes of one kind at one pattern of paths as one, with their number."""
    counted: Counter[tuple[str, str | None, str | None]] = Counter()
    for path, before, after in changes:
        counted[(folded_path(path), _said(before), _said(after))] += 1
    for (pattern, before, after), count in counted.items():
        yield PathChange(pattern, what, count, before, after)


def outermost(changes: Sequence[ModuleChange]) -> list[ModuleChange]:
    """Without what came or went only because the module above it did."""
    above = gone(changes)
    return [change for change in changes if not is_in(change, above, change[0].rpartition(".")[0])]


def gone(changes: Sequence[ModuleChange]) -> set[tuple[str, bool]]:
    """The modules that went or came, and which of the two."""
    return {(path, after is None) for path, before, after in changes if None in (before, after)}


def is_in(change: ModuleChange | ParameterChange, modules: Collection[tuple[str, bool]], place: str) -> bool:
    """Whether something went or came with a module at or above a place that did the same."""
    _, before, after = change
    return None in (before, after) and any((above, after is None) in modules for above in ancestors(place))


def _modules(before: ModuleNode, after: ModuleNode, moves: tuple[Move, ...]) -> Iterator[ModuleChange]:
    """Modules that differ after the moves; wrappers that moves dissolved or put in went with them."""
    old, new = _classes(before), _classes(after)
    dissolved = set(_wrappers(moves, old, new))
    inserted = set(
        _wrappers([replace(move, before=move.after, after=move.before) for move in moves], new, old)
    )
    place = placing(moves)

    def where(path: str) -> str:
        # what was where a wrapper is now is inside of it
        return path if path in new and folded_path(path) not in inserted else place(path)

    lasting = {path: name for path, name in old.items() if folded_path(path) not in dissolved}
    for path, was, now in _differing(lasting, new, where):
        is_told = was is None or now is None or UNKNOWN_CLASS not in (was, now)
        if is_told and (was is not None or folded_path(path) not in inserted):
            yield path, was, now


def _differing(
    old: Mapping[str, Value], new: Mapping[str, Value], where: Callable[[str], str]
) -> Iterator[tuple[str, Value | None, Value | None]]:
    """What is not the same at a place: of what changed the new path, of what went the old one."""
    places = {path: where(path) for path in old}
    origins: dict[str, str] = {}
    # a place has one origin: what stayed there, else what came there unchanged, else what came there first
    for has_claim in (
        lambda path, place: path == place,
        lambda path, place: old[path] == new[place],
        lambda _path, _place: True,
    ):
        for path, place in places.items():
            if place in new and place not in origins and has_claim(path, place):
                origins[place] = path
    for path, was in old.items():
        place = places[path]
        if origins.get(place) != path:
            yield path, was, None
        elif was != new[place]:
            yield place, was, new[place]
    yield from ((path, None, now) for path, now in new.items() if path not in origins)


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


def _lasting(old: Iterable[str], new: Iterable[str], where: Callable[[str], str]) -> frozenset[str]:
    """The patterns that both have of parameters and the modules around them, as each of the two says them."""
    there = _with_modules({folded_path(path) for path in new})
    both: set[str] = set()
    for path in old:
        for one, place in zip(
            ancestors(folded_path(path)), ancestors(folded_path(where(path))), strict=False
        ):
            if place in there:
                both |= {one, place}
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


def _said(value: object | None) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return " x ".join(map(str, value)) if isinstance(value, tuple) else str(value)
