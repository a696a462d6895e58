"""Snapshot: a model's record with its module tree beside it, as it is kept in a file."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from vlm_inspect.architecture import Architecture
from vlm_inspect.tree import INFERRED, ModuleNode, ModuleTree, NodePool


class Snapshot(Struct, frozen=True, eq=False):
    """What of a model is compared: its record, and its modules where they were seen."""

    architecture: Architecture
    modules: ModuleNode | None = None

    @classmethod
    def of(cls, architecture: Architecture, tree: ModuleTree | None) -> Snapshot:
        """The lasting part of an answer.

        Evidence goes: it says how something was found, in words that may get better.
        """
        components = tuple(replace(component, evidence=()) for component in architecture.components)
        entries = tuple(replace(entry, evidence=()) for entry in architecture.inputs)
        bare = bare_modules(tree.root, NodePool(), {}) if tree is not None else None
        return cls(replace(architecture, components=components, inputs=entries), bare)


def bare_modules(node: ModuleNode, pool: NodePool, known: dict[int, ModuleNode]) -> ModuleNode:
    """A tree without what only its builder knew: classes, names, parameters and shapes remain."""
    if id(node) not in known:
        children = tuple((name, bare_modules(child, pool, known)) for name, child in node.children)
        name = INFERRED if node.inferred else node.class_name
        known[id(node)] = pool.node(name, parameters=node.parameters, children=children)
    return known[id(node)]
