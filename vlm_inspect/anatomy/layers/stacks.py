"""Stacks of layers: where they are, and which of their layers are alike."""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from vlm_inspect.anatomy.leaves import (
    breadth_first,
    contains_attention,
    convolution_channels,
    is_attention,
    is_layer,
    is_list,
    leaves,
    number,
    whole,
)
from vlm_inspect.core.architecture import Role
from vlm_inspect.core.module_tree import ModuleNode, ModuleTree, is_below, join

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


_ROTARY = re.compile(r"(Rotary|RoPE|Rope)")
_RELATIVE = re.compile(r"Relative\w*(Bias|Position)")
# what configurations call the list of their layers' types
_TYPES = ("layer_types", "layers_block_type", "attention_types")
# the layers that see the whole image, where the others look into a window each
_WHOLE = ("fullatt_block_indexes", "global_attn_indexes")
# a base per layer; none of zero turns anything
_BASES = ("layer_rope_theta",)


class Said(Struct, frozen=True):
    """What a configuration says of one layer, in lists that have an entry for each."""

    layer_type: str | None = None
    """`sliding_attention`, `full_attention`, `linear_attention`, `window_attention` …"""
    theta: float | None = None
    """The base of its rotary embedding; 0 where it has none."""


class Surroundings(Struct, frozen=True):
    """What a layer's own modules leave to others."""

    config: Mapping[str, Any] = field(default_factory=dict)
    """Of the part: for what no module says (experts per token)."""
    role: Role | None = None
    rotary: tuple[tuple[str, ModuleNode], ...] = ()
    """The rotary embeddings that the layers share, by name."""
    relative: bool = False
    """Whether they share a bias by relative position."""
    window: int | None = None
    """Side of the image's windows, in patches, that the tower cuts for the layers which stay in them."""
    said: Said = field(default_factory=Said)


def surroundings(  # noqa: PLR0913 - where the stack is, whose it is, and what it was built from
    tree: ModuleTree,
    stack: str,
    top: str,
    role: Role,
    config: Mapping[str, Any],
    *,
    claimed: Collection[str] = (),
) -> Surroundings:
    """What lies around the stack at a path, up to the component's own top, and in no other component."""
    others = {path for path in claimed if path != top}
    shared = list(_shared(tree, stack, top, others))
    return Surroundings(
        config,
        role,
        tuple((name, node) for name, node in shared if _ROTARY.search(node.class_name)),
        any(_RELATIVE.search(node.class_name) for _, node in shared),
        _window(tree, stack, top, config),
    )


def said_of_layers(config: Mapping[str, Any], count: int) -> tuple[Said, ...]:
    """What the configuration says of each of so many layers."""
    types = _types(config, count)
    bases = next((values for name in _BASES if (values := _list(config, name, count))), None)
    return tuple(
        Said(types[index] if types else None, number(bases[index]) if bases else None)
        for index in range(count)
    )


def _types(config: Mapping[str, Any], count: int) -> Sequence[str] | None:
    for name in _TYPES:
        listed = _list(config, name, count)
        if listed and all(isinstance(each, str) for each in listed):
            return listed
    for name in _WHOLE:
        whole = config.get(name)
        if isinstance(whole, (list, tuple)) and whole and all(isinstance(each, int) for each in whole):
            return ["full_attention" if index in whole else "window_attention" for index in range(count)]
    return None


def _list(config: Mapping[str, Any], name: str, count: int) -> Sequence[Any] | None:
    """A list of the configuration that has an entry for each layer."""
    value = config.get(name)
    return value if isinstance(value, (list, tuple)) and len(value) == count else None


def _window(tree: ModuleTree, stack: str, top: str, config: Mapping[str, Any]) -> int | None:
    """The windows that a tower cuts: it states their side in pixels, a multiple of its patch."""
    holder = stack.rpartition(".")[0]
    while is_below(holder, top):
        node = tree.find(holder)
        size = whole(node.attribute("window_size")) if node is not None else None
        if node is not None and size:
            patch = whole(node.attribute("patch_size")) or whole(config.get("patch_size"))
            return size // patch if patch else None
        if not holder:
            break
        holder = holder.rpartition(".")[0]
    return None


def _shared(
    tree: ModuleTree, stack: str, top: str, others: Collection[str]
) -> Iterator[tuple[str, ModuleNode]]:
    """What lies beside the stack and beside the modules that hold it, the nearest first."""
    inner, holder = stack, stack.rpartition(".")[0]
    while is_below(holder, top):
        node = tree.find(holder)
        for name, child in node.children if node is not None else ():
            at = join(holder, name)
            if not is_below(inner, at) and not any(is_below(other, at) for other in others):
                yield name, child
                yield from breadth_first(child, name) if not name.isdigit() else ()
        if not holder:
            return
        inner, holder = holder, holder.rpartition(".")[0]


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
