"""Looking through a module once per kind: what holds of one layer holds of its equals, which are one node.

For what a module is, not for what it is called: equal modules may stand under different names.
"""

from __future__ import annotations

from collections.abc import Iterator

from vlm_inspect.anatomy.layers.stacks import is_stack
from vlm_inspect.tree import ModuleNode, join


def kinds(node: ModuleNode, path: str) -> Iterator[tuple[str, ModuleNode]]:
    """A node and all below, each kind where it stands first, parents first."""
    seen: set[int] = set()
    pending = [(path, node)]
    while pending:
        at, kind = pending.pop()
        if id(kind) in seen:
            continue
        seen.add(id(kind))
        yield at, kind
        pending.extend((join(at, name), child) for name, child in reversed(kind.children))


def holds_stack(node: ModuleNode) -> bool:
    """Whether a stack of layers is at or below a node."""
    return any(is_stack(kind) for _, kind in kinds(node, ""))


def last_stack(node: ModuleNode) -> ModuleNode | None:
    """The outermost stack of layers that comes last at or below a node."""
    if not node.total or is_stack(node):
        return node if node.total else None
    return next((found for _, child in reversed(node.children) if (found := last_stack(child))), None)
