"""Compare the module and parameter paths of two trees, after detecting moves.

Paths here are complete; changes of paths are folded into patterns (`*` for numbers) at the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Generic, Literal, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from vlm_inspect.compare.rename_evidence import Side, modules_by_pattern
from vlm_inspect.compare.renames import find_moves
from vlm_inspect.core.architecture import Role
from vlm_inspect.core.difference import Move, PathChange
from vlm_inspect.core.module_tree import (
    UNKNOWN_CLASS,
    ModuleNode,
    Shape,
    ancestors,
    below,
    folded_path,
    is_below,
    numbered,
    pattern_of,
    split,
)

Value = TypeVar("Value", str, Shape)


class TreeChange(Struct, Generic[Value], frozen=True):
    """A module or parameter that was added, removed or changed."""

    old: str | None
    """Its path in the old tree; None if it was added."""
    new: str | None
    """Its path in the new tree; None if it was removed."""
    before: Value | None
    """The class of a module or the shape of a parameter; None if it was added."""
    after: Value | None

    @property
    def ends(self) -> set[str]:
        """Its paths in both trees."""
        return {path for path in (self.old, self.new) if path is not None}

    @property
    def path(self) -> str:
        """Its new path, or the old path if it was removed."""
        return self.new if self.new is not None else self.old or ""

    @property
    def is_changed(self) -> bool:
        """Whether it was neither added nor removed."""
        return self.old is not None and self.new is not None


ModuleChange = TreeChange[str]
ParameterChange = TreeChange[Shape]


class PathDifference(Struct, frozen=True):
    """Moves, and the changes that remain after them."""

    moves: tuple[Move, ...] = ()
    parameters: tuple[ParameterChange, ...] = ()
    modules: tuple[ModuleChange, ...] = ()
    shared: frozenset[str] = frozenset()
    """Patterns of paths that are in both trees."""


def compare_paths(
    before: ModuleNode, after: ModuleNode, old_roles: Mapping[str, Role], new_roles: Mapping[str, Role]
) -> PathDifference:
    """The moves between two trees, and the other differences of modules and parameters.

    Args:
        before: The old tree.
        after: The new tree.
        old_roles: The roles of the old model's components by path.
        new_roles: The roles of the new model's components by path.

    """
    if before is after:
        return PathDifference()
    old, new = dict(before.parameter_paths()), dict(after.parameter_paths())
    removed = {path: shape for path, shape in old.items() if path not in new}
    added = {path: shape for path, shape in new.items() if path not in old}
    moves: tuple[Move, ...] = ()
    if removed and added:
        unchanged = old.keys() & new.keys()
        moves = find_moves(
            Side(removed, unchanged, modules_by_pattern(before), old_roles),
            Side(added, unchanged, modules_by_pattern(after), new_roles),
        )
    path_map = PathMap(moves)
    return PathDifference(
        moves=moves,
        parameters=tuple(_changes(old, new, path_map.pairs(old, new))),
        modules=tuple(_module_changes(before, after, moves, path_map)),
        shared=_shared_patterns(old, new, path_map),
    )


def _changes(
    old: Mapping[str, Value], new: Mapping[str, Value], pairs: Mapping[str, str]
) -> Iterator[TreeChange[Value]]:
    """The differences of two mappings; `pairs` maps old paths to new ones."""
    for path, was in old.items():
        new_path = pairs.get(path)
        if new_path is None:
            yield TreeChange(path, None, was, None)
        elif was != new[new_path]:
            yield TreeChange(path, new_path, was, new[new_path])
    paired = set(pairs.values())
    yield from (TreeChange(None, path, None, now) for path, now in new.items() if path not in paired)


def _module_changes(
    before: ModuleNode, after: ModuleNode, moves: tuple[Move, ...], path_map: PathMap
) -> Iterator[ModuleChange]:
    """Changed modules, without the wrappers that a move adds or removes."""
    old, new = _classes(before), _classes(after)
    removed = set(_removed_wrappers(moves, old, new))
    added = set(_removed_wrappers(reversed_moves(moves), new, old))
    wrappers = removed | added

    def is_reported(change: ModuleChange) -> bool:
        if change.is_changed:
            return UNKNOWN_CLASS not in (change.before, change.after)
        return folded_path(change.path) not in (removed if change.new is None else added)

    # the module at the path of a new wrapper is now inside it
    pairs = path_map.pairs(old, new, lambda path: not wrappers or folded_path(path) not in wrappers)
    return filter(is_reported, _changes(old, new, pairs))


def _classes(root: ModuleNode) -> dict[str, str]:
    return {path: UNKNOWN_CLASS if node.inferred else node.class_name for path, node in root.walk()}


def _removed_wrappers(moves: Sequence[Move], old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    """The patterns of modules that a move to an outer path removes: `a.b` → `a` removes one of the two.

    The classes decide: if the new `a` has the class of the old `a.b`, then the old `a` was removed.
    """
    old_classes = {folded_path(path): name for path, name in old.items()} if moves else {}
    new_classes = {folded_path(path): name for path, name in new.items()} if moves else {}
    for move in moves:
        between = [".".join(each) for each in below(pattern_of(move.before), pattern_of(move.after))]
        if not between or not is_below(move.before, move.after):
            continue
        inner, outer = old_classes.get(move.before), old_classes.get(move.after)
        if new_classes.get(move.after) == inner != outer and move.after:
            yield from [move.after, *between[:-1]]
        else:  # a module that is still there was not removed
            yield from (pattern for pattern in between if pattern not in new_classes)


def _shared_patterns(old: Iterable[str], new: Iterable[str], path_map: PathMap) -> frozenset[str]:
    """The patterns of parameters and modules in both trees, by their old and their new paths."""
    new_patterns = _with_ancestors({folded_path(path) for path in new})
    shared: set[str] = set()
    for pattern in _with_ancestors({folded_path(path) for path in old}):
        shared |= {pattern} & new_patterns
        moved = path_map.to_new(pattern)
        if moved in new_patterns and path_map.is_same(pattern, moved):
            shared |= {pattern, moved}
    return frozenset(shared)


def _with_ancestors(patterns: Iterable[str]) -> set[str]:
    return {above for pattern in patterns for above in ancestors(pattern)}


def path_mapper(moves: Iterable[Move]) -> Callable[[str], str]:
    """The new path of a path that only the old tree has; the move of the longest prefix applies."""
    targets = {pattern_of(move.before): pattern_of(move.after) for move in moves}
    longest = max(map(len, targets), default=-1)

    def new_path(path: str) -> str:
        if not targets:
            return path
        pattern, numbers = split(path)
        for length in range(min(longest, len(pattern)), -1, -1):
            target = targets.get(pattern[:length])
            if target is not None:
                return numbered((*target, *pattern[length:]), numbers)
        return path

    return new_path


def reversed_moves(moves: Iterable[Move]) -> list[Move]:
    """The moves from the new tree to the old one."""
    return [replace(move, before=move.after, after=move.before) for move in moves]


class PathMap:
    """Moves in both directions. Two paths are the same if each leads to the other.

    With nested moves, two paths may lead to the same path. Such paths match nothing, in either direction.
    """

    def __init__(self, moves: Collection[Move]) -> None:
        self.to_new, self._to_old = path_mapper(moves), path_mapper(reversed_moves(moves))

    def is_same(self, old: str, new: str) -> bool:
        """Whether the old path moved to the new path."""
        return self.to_new(old) == new and self._to_old(new) == old

    def pairs(
        self, old: Collection[str], new: Collection[str], may_stay: Callable[[str], bool] = lambda _path: True
    ) -> dict[str, str]:
        """Old paths with their new paths, no new path twice. Moves apply to paths that do not stay."""
        unmoved = {path for path in old if path in new and may_stay(path)}
        found = {}
        for path in old:
            moved = path if path in unmoved else self.to_new(path)
            if path in unmoved or (moved in new and moved not in unmoved and self._to_old(moved) == path):
                found[path] = moved
        return found


def folded(
    what: Literal["module", "parameter"], changes: Iterable[ModuleChange] | Iterable[ParameterChange]
) -> Iterator[PathChange]:
    """Changes with equal patterns and values as one, with their count."""
    counts: Counter[tuple[str | None, ...]] = Counter()
    for change in changes:
        old, new = (None if path is None else folded_path(path) for path in (change.old, change.new))
        counts[old, new, _class_or_shape(change.before), _class_or_shape(change.after)] += 1
    for (old, new, before, after), count in counts.items():
        path = new if new is not None else old or ""
        yield PathChange(path, what, count, before, after, None if old == path or new is None else old)


def _class_or_shape(value: str | Shape | None) -> str | None:
    return " x ".join(map(str, value)) if isinstance(value, tuple) else value


def outermost(changes: Sequence[ModuleChange]) -> list[ModuleChange]:
    """The changes without modules that were added or removed together with their parent."""
    whole = added_or_removed(changes)
    return [change for change in changes if not is_inside(change, whole, change.path.rpartition(".")[0])]


def added_or_removed(changes: Iterable[ModuleChange]) -> set[tuple[str, bool]]:
    """The path of each added or removed module, with True if it was removed."""
    return {(change.path, change.new is None) for change in changes if not change.is_changed}


def is_inside(change: ModuleChange | ParameterChange, modules: Collection[tuple[str, bool]], path: str) -> bool:
    """Whether something was added or removed together with a module at or above a path."""
    return not change.is_changed and any((above, change.new is None) in modules for above in ancestors(path))
