"""Snapshot: the record and the module tree of a model, as they are stored in a file."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from vlm_inspect.architecture import Architecture
from vlm_inspect.tree import INFERRED, ModuleNode, ModuleTree, NodePool


class Snapshot(Struct, frozen=True, eq=False):
    """The record of a model, and its module tree if it was built."""

    architecture: Architecture
    modules: ModuleNode | None = None

    @classmethod
    def of(cls, architecture: Architecture, tree: ModuleTree | None) -> Snapshot:
        """The record without evidence, whose wording may change, and the tree without attributes."""
        components = tuple(replace(component, evidence=()) for component in architecture.components)
        entries = tuple(replace(entry, evidence=()) for entry in architecture.inputs)
        bare = bare_modules(tree.root, NodePool(), {}) if tree is not None else None
        return cls(replace(architecture, components=components, inputs=entries), bare)


def bare_modules(node: ModuleNode, pool: NodePool, known: dict[int, ModuleNode]) -> ModuleNode:
    """A tree of classes, names, parameters and shapes alone."""
    if id(node) not in known:
        children = tuple((name, bare_modules(child, pool, known)) for name, child in node.children)
        name = INFERRED if node.inferred else node.class_name
        known[id(node)] = pool.node(name, parameters=node.parameters, children=children)
    return known[id(node)]
