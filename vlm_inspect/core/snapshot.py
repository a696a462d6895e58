"""Snapshot: the record and the module tree of a model, as they are stored in a file."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from vlm_inspect.core.architecture import Architecture
from vlm_inspect.core.difference import Difference
from vlm_inspect.core.module_tree import INFERRED, ModuleNode, ModuleTree, NodePool


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


Status = Literal["same", "different", "missing", "orphaned", "failed"]
Cause = Literal["library", "repository", "unknown"]


class CheckResult(Struct, frozen=True):
    """Whether a model is still what its snapshot file says."""

    model: str
    file: str
    """The file's name in the snapshot folder."""
    status: Status
    cause: Cause | None = None
    """Why it differs, where that can be told: another library, or another commit of the repo."""
    difference: Difference | None = None
    message: str = ""
    """Of a failure: what happened."""
    hint: str = ""
    """Of a failure: what to type next."""
