"""Modules and parameters of two trees, compared path by path after what moved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from vlm_inspect.compare.moves import apply_moves, find_moves, split, text
from vlm_inspect.difference import Move, PathChange
from vlm_inspect.tree import ModuleNode, Shape, is_below

ParameterChange = tuple[str, Shape | None, Shape | None]
ModuleChange = tuple[str, str | None, str | None]


@dataclass(frozen=True, slots=True)
class PathDifference:
    """Moves, and what is left when they are made. Paths are whole, before they are folded."""

    moves: tuple[Move, ...] = ()
    parameters: tuple[ParameterChange, ...] = ()
    modules: tuple[ModuleChange, ...] = ()


def compare_paths(before: ModuleNode, after: ModuleNode) -> PathDifference:
    """What moved from one tree to the other, and what else differs."""
    if before is after:
        return PathDifference()
    old, new = dict(before.parameter_paths()), dict(after.parameter_paths())
    removed = {path: shape for path, shape in old.items() if path not in new}
    added = {path: shape for path, shape in new.items() if path not in old}
    moves = find_moves(removed, added, old.keys() & new.keys())
    placed = {path if path in new else apply_moves(path, moves): shape for path, shape in old.items()}
    return PathDifference(
        moves=moves,
        parameters=tuple(_parameters(placed, new)),
        modules=tuple(_modules(before, after, moves)),
    )


def folded(
    what: Literal["module", "parameter"], changes: Sequence[ModuleChange] | Sequence[ParameterChange]
) -> Iterator[PathChange]:
    """Changes of one kind at one pattern of paths as one, with their number."""
    counted: Counter[tuple[str, str | None, str | None]] = Counter()
    for path, before, after in changes:
        counted[(text(split(path)[0]), _said(before), _said(after))] += 1
    for (pattern, before, after), count in counted.items():
        yield PathChange(pattern, what, count, before, after)


def outermost(changes: Sequence[ModuleChange]) -> list[ModuleChange]:
    """Without what came or went only because the module above it did."""
    whole = {path for path, before, after in changes if before is None or after is None}
    return [change for change in changes if not _has_above(change[0], whole)]


def _has_above(path: str, whole: Collection[str]) -> bool:
    parent = path.rpartition(".")[0]
    while parent:
        if parent in whole:
            return True
        parent = parent.rpartition(".")[0]
    return False


def _modules(before: ModuleNode, after: ModuleNode, moves: tuple[Move, ...]) -> Iterator[ModuleChange]:
    """Modules that differ after the moves; wrappers that moves dissolved or put in went with them."""
    old, new = _classes(before), _classes(after)
    wrappers = {path for move in moves for path in _between(move.before, move.after)}
    inserted = {path for move in moves for path in _between(move.after, move.before)}
    placed = {
        path if path in new else apply_moves(path, moves): class_name
        for path, class_name in old.items()
        if path in new or text(split(path)[0]) not in wrappers
    }
    for path in dict.fromkeys((*placed, *new)):
        if placed.get(path) == new.get(path) or (path not in placed and text(split(path)[0]) in inserted):
            continue
        yield path, placed.get(path), new.get(path)


def _between(inner: str, outer: str) -> Iterator[str]:
    """The patterns from below `outer` down to `inner`, where the one lies inside the other."""
    if inner == outer or not is_below(inner, outer):
        return
    parts = inner.split(".")
    first = len(outer.split(".")) if outer else 0
    for length in range(first + 1, len(parts) + 1):
        yield ".".join(parts[:length])


def _classes(root: ModuleNode) -> dict[str, str]:
    return {path: node.class_name for path, node in root.walk()}


def _parameters(before: Mapping[str, Shape], after: Mapping[str, Shape]) -> Iterator[ParameterChange]:
    for path in dict.fromkeys((*before, *after)):
        if before.get(path) != after.get(path):
            yield path, before.get(path), after.get(path)


def _said(value: object | None) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return " x ".join(map(str, value)) if isinstance(value, tuple) else str(value)
