"""What only one of two models shows: a part that could not be built has no modules to compare."""

from __future__ import annotations

from collections.abc import Iterator

from vlm_inspect.architecture import Architecture
from vlm_inspect.tree import ModuleNode, NodePool, join


def seen_alike(
    before: tuple[Architecture, ModuleNode], after: tuple[Architecture, ModuleNode]
) -> tuple[ModuleNode, ModuleNode]:
    """Both trees without the insides of what was not built in one of them."""
    hidden = {*_hidden(before[0], after[0]), *_hidden(after[0], before[0])}
    if not hidden:
        return before[1], after[1]
    pool = NodePool()
    return _without(before[1], "", hidden, pool), _without(after[1], "", hidden, pool)


def _hidden(one: Architecture, other: Architecture) -> Iterator[str]:
    """The places of what was not built, and of what stands for it in the other model."""
    unbuilt = one.missing_modules
    yield from unbuilt
    roles = {
        component.role
        for component in one.components
        if component.paths[:1] and component.paths[0] in unbuilt
    }
    for component in other.components:
        if component.role in roles:
            yield from component.paths


def _without(node: ModuleNode, path: str, hidden: set[str], pool: NodePool) -> ModuleNode:
    """The tree with nothing inside these modules. Their class stays: it is known."""
    if path in hidden:
        return pool.node(node.class_name)
    children = tuple((name, _without(child, join(path, name), hidden, pool)) for name, child in node.children)
    return pool.node(node.class_name, parameters=node.parameters, children=children)
