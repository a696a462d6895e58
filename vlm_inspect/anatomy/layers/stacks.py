"""Stacks of layers: where they are, and which of their layers are alike."""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Iterator, Sequence

from vlm_inspect.anatomy.leaves import (
    contains_attention,
    convolution_channels,
    is_attention,
    is_layer,
    is_list,
    leaves,
)
from vlm_inspect.tree import ModuleNode, join

# scalar attributes in which two layers of one structure may differ all the same
_TELLING = re.compile(
    r"(sliding|window|shift_size|chunk|layer_type|attention_type|use_rope|is_cross|no_rope|is_local|kv_shared"
    r"|look_\w+_block|top_k|dilation)"
)
_PIXEL_CHANNELS = 3
_PASSING = re.compile(r"(Drop|Identity)")

Skeleton = tuple[object, ...]


def find_stacks(
    node: ModuleNode, path: str, without: Collection[str] = ()
) -> Iterator[tuple[str, ModuleNode]]:
    """The stacks of layers at and below a node, outermost first; nothing at or below `without`.

    A stack of stages that are stacks themselves (Swin's) is told as its stages' stacks.
    """
    if path in without or not node.total:
        return
    if is_stack(node):
        inner = [
            found for name, child in node.children for found in find_stacks(child, join(path, name), without)
        ]
        if inner and not any(_holds_attention_outside(child) for _, child in node.children):
            yield from inner
        else:
            yield path, node
        return
    for name, child in node.children:
        yield from find_stacks(child, join(path, name), without)


def is_stack(node: ModuleNode) -> bool:
    """A numbered container of layers: called so, or with attention in each of them."""
    if not is_list(node):
        return False
    # the parts of one layer may be numbered too (T5's): a list of attention and MLP is no stack of layers
    layers = [child for _, child in node.children if not is_attention(child)]
    mixing = sum(map(contains_attention, layers))
    found = sum(is_layer(layer) or contains_attention(layer) for layer in layers)
    if not mixing and (len(node.children) == 1 or _takes_pixels(layers)):
        return False  # a part of a block, or a stem
    attending = len(node.children) - len(layers) if found else 0
    # a sequence of convolutions, activations and a block here and there is no stack either
    return 2 * (found + attending) > len(node.children)


def _takes_pixels(layers: Sequence[ModuleNode]) -> bool:
    """Whether the first convolution in a list is over pixels."""
    channels = (convolution_channels(leaf) for layer in layers for _, leaf in leaves(layer, ""))
    first = next((pair for pair in channels if pair), None)
    return first is not None and first[0] == _PIXEL_CHANNELS


def _holds_attention_outside(layer: ModuleNode) -> bool:
    """Whether a layer has attention of its own, outside the stacks inside it."""
    if is_stack(layer):
        return False
    pending = [child for _, child in layer.children]
    while pending:
        node = pending.pop()
        if is_stack(node):
            continue
        if not is_list(node) and contains_attention(node):
            return True
        pending.extend(child for _, child in node.children)
    return False


def kinds_of(stack: ModuleNode, said: Sequence[Hashable] = ()) -> tuple[list[ModuleNode], tuple[int, ...]]:
    """The different kinds of layers of a stack, and for each layer the index of its kind.

    `said` is what the configuration says of each layer, where it says that equal modules work differently.
    """
    kinds: dict[Hashable, int] = {}
    examples: list[ModuleNode] = []
    order = []
    known: dict[int, Skeleton] = {}
    for index, (_, layer) in enumerate(stack.children):
        shape = (skeleton(layer, known), said[index] if said else None)
        if shape not in kinds:
            kinds[shape] = len(examples)
            examples.append(layer)
        order.append(kinds[shape])
    return examples, tuple(order)


def skeleton(node: ModuleNode, known: dict[int, Skeleton] | None = None) -> Skeleton:
    """What makes a layer the kind that it is: classes, shapes and the attributes that change its work.

    Dropout rates and the like, which rise from layer to layer, are left out.
    """
    known = {} if known is None else known
    if id(node) not in known:
        telling = tuple(pair for pair in node.attributes if _TELLING.search(pair[0]))
        below = tuple(
            (name, skeleton(child, known))
            for name, child in node.children
            if child.total or child.children or not _PASSING.search(child.class_name)
        )
        known[id(node)] = (node.class_name, telling, node.parameters, node.forward_order, below)
    return known[id(node)]
