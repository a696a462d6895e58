"""Role assignments, and the parameters that each of them owns."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from vlm_inspect.anatomy.roles.names import parent_path
from vlm_inspect.core.architecture import Evidence, Role, Rule
from vlm_inspect.core.module_tree import ModuleNode, ModuleTree, is_below, join


class RoleAssignment(Struct, frozen=True):
    """A role, and the modules (or bare parameters) that have it together."""

    role: Role
    paths: tuple[str, ...]
    rule: Rule
    detail: str

    def evidence(self) -> Evidence:
        """The assignment as evidence in the record."""
        return Evidence(f"{self.role.value} at {', '.join(self.paths)}", self.rule, self.detail)


Assignments = Sequence[RoleAssignment]


def all_paths(assignments: Iterable[RoleAssignment], *roles: Role) -> list[str]:
    """The paths of the assignments, or of those with one of these roles."""
    return [
        path
        for assignment in assignments
        if not roles or assignment.role in roles
        for path in assignment.paths
    ]


def owned_parameters(tree: ModuleTree, groups: Sequence[tuple[str, ...]]) -> list[int]:
    """The number of parameters that each group of paths owns.

    Where one path is inside another, the inner path owns the parameters below it. A tied parameter
    belongs to the group of its first path.
    """
    owner = {path: index for index, paths in enumerate(groups) for path in paths}
    counts = [0] * len(groups)
    for path, index in owner.items():
        nested = sum(_parameter_count(tree, inner) for inner in _directly_inside(path, owner))
        counts[index] += _parameter_count(tree, path) - nested
    repeated = (path for group in tree.ties for path in group[1:])
    for path, surplus in zip(repeated, tree.tied_surplus(), strict=True):
        holder = owning_path(path, owner)
        if holder is not None:
            counts[owner[holder]] -= surplus
    return counts


def owning_path(path: str, owner: Mapping[str, int]) -> str | None:
    """The innermost assigned path at or above a path."""
    while path:
        if path in owner:
            return path
        path = parent_path(path)
    return None


def unassigned_modules(tree: ModuleTree, assigned: Collection[str]) -> Iterator[tuple[str, str]]:
    """The largest modules and bare parameters without a role: path and class name (or `Parameter`)."""
    yield from _unassigned(tree.root, "", set(assigned))


def _unassigned(node: ModuleNode, path: str, assigned: set[str]) -> Iterator[tuple[str, str]]:
    for name, _ in node.parameters:
        if join(path, name) not in assigned:
            yield join(path, name), "Parameter"
    for name, child in node.children:
        at = join(path, name)
        if at in assigned or not child.total:
            continue
        if any(is_below(other, at) for other in assigned):
            yield from _unassigned(child, at, assigned)
        else:
            yield at, child.class_name


def _directly_inside(path: str, owner: Mapping[str, int]) -> Iterator[str]:
    for other in owner:
        if other != path and is_below(other, path) and owning_path(parent_path(other), owner) == path:
            yield other


def _parameter_count(tree: ModuleTree, path: str) -> int:
    """The parameters at and below the path of a module, or of one parameter."""
    node = tree.find(path)
    if node is not None:
        return node.total
    return sum(math.prod(shape) for shape in tree.shapes_of({path}).values())
