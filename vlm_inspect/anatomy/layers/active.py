"""The parameters that work on one text token: all but the experts that it is not routed to."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from vlm_inspect.architecture import Experts, Layer, LayerStack
from vlm_inspect.tree import ModuleTree, is_below, join


def idle(tree: ModuleTree, stacks: tuple[LayerStack, ...]) -> tuple[int, str | None]:
    """Parameters of the experts that a text token is not routed to, or why they cannot be counted.

    Experts that are tied to others count where the others are, as their parameters do.
    """
    again = {path for group in tree.ties for path in group[1:]}
    total = 0
    for stack in stacks:
        for path, layer in _layers(tree, stack):
            reason = _unknown(layer)
            if reason is not None:
                return 0, reason
            total += sum(
                idle_of(each) for each in _groups(layer) if not _is_tied(join(path, each.path), again)
            )
    return total, None


def idle_of(experts: Experts) -> int:
    """Parameters of one group that a text token does not go through."""
    chosen = 0 if experts.modality == "vision" else experts.per_token or 0
    return (experts.count - chosen) * (experts.parameters or 0)


def _layers(tree: ModuleTree, stack: LayerStack) -> Iterator[tuple[str, Layer]]:
    """Each layer's path and kind; those without experts are left out."""
    node = tree.find(stack.path)
    order = stack.order or (0,) * stack.count
    for (name, _), kind in zip(node.children if node else (), order, strict=True):
        layer = stack.kinds[kind]
        if layer.unknown.get("active") or _groups(layer):
            yield join(stack.path, name), layer


def _groups(layer: Layer) -> tuple[Experts, ...]:
    return layer.mlp.experts if layer.mlp else ()


def _unknown(layer: Layer) -> str | None:
    reasons = (reason for each in _groups(layer) for reason in each.unknown.values())
    return layer.unknown.get("active") or next(reasons, None)


def _is_tied(path: str, again: Collection[str]) -> bool:
    return any(is_below(other, path) for other in again)
