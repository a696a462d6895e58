"""Role assignments, and the parameters that each of them owns."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from vlm_inspect.core.architecture import Evidence, Role, Rule
from vlm_inspect.core.module_tree import ModuleNode, ModuleTree, is_below, join, parent_path


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
    return [path for each in assignments if not roles or each.role in roles for path in each.paths]


def modules_at(tree: ModuleTree, paths: Iterable[str]) -> Iterator[tuple[str, ModuleNode]]:
    """The modules at these paths; bare parameters are left out."""
    return tree.modules_at(paths)


def owned_parameters(tree: ModuleTree, groups: Sequence[tuple[str, ...]]) -> list[int]:
    """The number of parameters that each group of paths owns.

    Where one path is inside another, the inner path owns the parameters below it. A tied parameter
    belongs to the group of its first path.
    """
    owners = {path: index for index, paths in enumerate(groups) for path in paths}
    counts = [0] * len(groups)
    for path, index in owners.items():
        count = _parameter_count(tree, path)
        counts[index] += count
        outer = owner_of(parent_path(path), owners)
        if outer is not None:
            counts[outer] -= count
    repeated = (path for group in tree.ties for path in group[1:])
    for path, surplus in zip(repeated, tree.duplicate_sizes(), strict=True):
        owner = owner_of(path, owners)
        if owner is not None:
            counts[owner] -= surplus
    return counts


def owner_of(path: str, owners: Mapping[str, int]) -> int | None:
    """The index of the innermost assigned path at or above a path."""
    while path:
        if path in owners:
            return owners[path]
        path = parent_path(path)
    return None


def unassigned_modules(node: ModuleNode, assigned: Collection[str], path: str = "") -> Iterator[tuple[str, str]]:
    """The largest modules and bare parameters without a role: path and class name (or `Parameter`)."""
    for name, _ in node.parameters:
        if join(path, name) not in assigned:
            yield join(path, name), "Parameter"
    for name, child in node.children:
        at = join(path, name)
        if at in assigned or not child.total:
            continue
        if any(is_below(other, at) for other in assigned):
            yield from unassigned_modules(child, assigned, at)
        else:
            yield at, child.class_name


def _parameter_count(tree: ModuleTree, path: str) -> int:
    """The parameters at and below the path of a module, or of one parameter."""
    node = tree.find(path)
    if node is not None:
        return node.total
    return sum(math.prod(shape) for shape in tree.shapes_of({path}).values())
