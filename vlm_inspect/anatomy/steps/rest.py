"""What a component holds beside its embeddings, its layers and what is another's."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator

from msgspec import Struct
from msgspec.structs import replace

from vlm_inspect.anatomy.steps.leaf_stages import leaf_stage
from vlm_inspect.architecture import OtherStage, Stage
from vlm_inspect.tree import ModuleNode, ModuleTree, is_below, join


class Told(Struct, frozen=True):
    """What is told elsewhere."""

    parts: Collection[str]
    """Paths of stacks, and of components inside this one."""
    embeddings: Collection[str]
    again: Collection[str]
    """Parameters that are another one under a second name."""


def rest(
    tree: ModuleTree,
    nodes: Collection[tuple[str, ModuleNode]],
    parts: Collection[str],
    embedded: Collection[str],
) -> Iterator[Stage]:
    """What modules hold that is told nowhere else, in order: final norm, pooling head, tables per layer."""
    told = Told(parts, embedded, {path for group in tree.ties for path in group[1:]})
    for path, node in nodes:
        if node.children:
            yield from _outside(node, path, told)
        elif path not in embedded:
            yield from _whole(node, path, told)


def _outside(node: ModuleNode, path: str, told: Told) -> Iterator[Stage]:
    """The modules with parameters that are neither told elsewhere nor hold what is."""
    for name, child in node.children:
        at = join(path, name)
        if at in told.parts or at in told.embeddings or not child.total:
            continue
        if any(is_below(other, at) for other in (*told.parts, *told.embeddings)):
            yield from _outside(child, at, told)
        else:
            yield from _whole(child, at, told)


def _whole(node: ModuleNode, path: str, told: Told) -> Iterator[Stage]:
    """A module as one; nothing of one that is another under a second name."""
    own = sum(math.prod(shape) for at, shape in node.parameter_paths(path) if at not in told.again)
    if own:
        stage = leaf_stage(node, path) if not node.children else None
        yield replace(stage or OtherStage(node.class_name, path), parameters=own)
