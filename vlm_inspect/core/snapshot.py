"""Snapshot: the content of a snapshot file. CheckResult: its comparison with the model today."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from vlm_inspect.core.architecture import Architecture
from vlm_inspect.core.difference import Difference
from vlm_inspect.core.module_tree import INFERRED, ModuleNode, ModuleTree, NodePool

Status = Literal["same", "different", "missing", "orphaned", "failed"]
Cause = Literal["library", "repository", "unknown"]


class Snapshot(Struct, frozen=True, eq=False):
    """The record of a model, and its module tree if it was built."""

    architecture: Architecture
    modules: ModuleNode | None = None

    @classmethod
    def of(cls, architecture: Architecture, tree: ModuleTree | None) -> Snapshot:
        """Return the record without evidence, whose wording may change, and the tree without attributes."""
        components = tuple(replace(component, evidence=()) for component in architecture.components)
        inputs = tuple(replace(each, evidence=()) for each in architecture.inputs)
        modules = _without_attributes(tree.root, NodePool(), {}) if tree is not None else None
        return cls(replace(architecture, components=components, inputs=inputs), modules)


class CheckResult(Struct, frozen=True):
    """Whether a model still matches its snapshot file."""

    model: str
    file: str
    """File name in the snapshot folder."""
    status: Status
    cause: Cause | None = None
    """Why it differs: another version of a library, or another commit of the repo; None if it does not."""
    difference: Difference | None = None
    message: str = ""
    """What happened, if the check failed."""
    hint: str = ""
    """What to type next, if the check failed."""


def _without_attributes(node: ModuleNode, pool: NodePool, done: dict[int, ModuleNode]) -> ModuleNode:
    if id(node) not in done:
        children = tuple((name, _without_attributes(child, pool, done)) for name, child in node.children)
        class_name = INFERRED if node.inferred else node.class_name
        done[id(node)] = pool.node(class_name, parameters=node.parameters, children=children)
    return done[id(node)]
