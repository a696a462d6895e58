"""Which component owns which parameter: every one exactly one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from vlm_inspect.tree import ModuleNode, ModuleTree, is_below, join


def owned(tree: ModuleTree, groups: Sequence[tuple[str, ...]]) -> list[int]:
    """Parameters owned by each group of paths, tied ones counted at their first place alone.

    Of paths inside one another the inner one owns what is below it.
    """
    owner = {path: index for index, paths in enumerate(groups) for path in paths}
    counts = [0] * len(groups)
    for path, index in owner.items():
        counts[index] += _size(tree, path) - sum(
            _size(tree, inner) for inner in _directly_inside(path, owner)
        )
    for path, surplus in zip(_tied_again(tree), tree.tied_surplus(), strict=True):
        holder = nearest(path, owner)
        if holder is not None:
            counts[owner[holder]] -= surplus
    return counts


def unclaimed(tree: ModuleTree, claimed: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The largest modules and bare parameters that no path claims, with their class (`Parameter`)."""
    yield from _unclaimed(tree.root, "", set(claimed))


def _unclaimed(node: ModuleNode, path: str, claimed: set[str]) -> Iterator[tuple[str, str]]:
    for name, _ in node.parameters:
        if join(path, name) not in claimed:
            yield join(path, name), "Parameter"
    for name, child in node.children:
        at = join(path, name)
        if at in claimed or not child.total:
            continue
        if any(is_below(other, at) for other in claimed):
            yield from _unclaimed(child, at, claimed)
        else:
            yield at, child.class_name


def nearest(path: str, owner: dict[str, int]) -> str | None:
    """The innermost claimed path at or above a path."""
    at = path
    while at:
        if at in owner:
            return at
        at = at.rpartition(".")[0]
    return None


def _directly_inside(path: str, owner: dict[str, int]) -> Iterator[str]:
    for other in owner:
        if other != path and is_below(other, path) and nearest(other.rpartition(".")[0], owner) == path:
            yield other


def _tied_again(tree: ModuleTree) -> Iterator[str]:
    for group in tree.ties:
        yield from group[1:]


def _size(tree: ModuleTree, path: str) -> int:
    """Parameters at and below a path, which may be that of a parameter."""
    node = tree.find(path)
    if node is not None:
        return node.total
    return sum(math.prod(shape) for shape in tree.shapes_of({path}).values())
