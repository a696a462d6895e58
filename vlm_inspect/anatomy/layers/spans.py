"""How far an attention sees: all tokens, a sliding window, a chunk, or a window of the image."""

from __future__ import annotations

from vlm_inspect.anatomy.layers.surroundings import Surroundings
from vlm_inspect.anatomy.leaves import breadth_first
from vlm_inspect.anatomy.values import whole
from vlm_inspect.tree import ModuleNode

_LOCAL = ("is_sliding", "is_local_attention")
_SIDES = ("window_size",)


def sliding_window(node: ModuleNode, around: Surroundings) -> int | None:
    """Tokens that it sees back; None where it sees all."""
    kind = _layer_type(node, around)
    if any(node.attribute(name) is False for name in _LOCAL) or (kind and "sliding" not in kind):
        return None
    own = whole(node.attribute("sliding_window"))
    if own:
        return own
    stated = whole(around.config.get("sliding_window"))
    # classes without types of layers mask all of them alike, by the configuration alone
    is_used = around.config.get("use_sliding_window") is not False
    return stated or None if is_used else None


def chunk(node: ModuleNode, around: Surroundings) -> int | None:
    """Tokens of a chunk that it does not look out of; None where there are no chunks."""
    kind = _layer_type(node, around)
    own = whole(node.attribute("chunk_size", "context_size", "attention_chunk_size"))
    if own and own > 0:
        return own
    return whole(around.config.get("attention_chunk_size")) if kind and "chunk" in kind else None


def image_window(layer: ModuleNode, node: ModuleNode, around: Surroundings) -> int | None:
    """The side of the windows of an image that attention stays in, in patches; None where it sees all."""
    holders = (node, *(child for _, child in breadth_first(node)), layer)
    own = next((size for each in holders if (size := each.attribute(*_SIDES)) is not None), None)
    side = max(own) if isinstance(own, tuple) and own else whole(own)
    if side is not None:
        return side or None
    return around.window if around.said.layer_type == "window_attention" else None


def _layer_type(node: ModuleNode, around: Surroundings) -> str | None:
    kind = node.attribute("layer_type", "attention_type")
    return kind if isinstance(kind, str) else around.said.layer_type
