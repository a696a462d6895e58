"""Stacks of layers: where they are, which layers are equal, and the context that layers depend on."""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from msgspec import Struct, field

from vlm_inspect.anatomy.module_kinds import (
    as_float,
    as_int,
    breadth_first,
    contains_attention,
    convolution_channels,
    is_attention,
    is_layer,
    is_list,
    leaves,
)
from vlm_inspect.core.architecture import Role
from vlm_inspect.core.module_tree import ModuleNode, ModuleTree, is_below, join, parent_path

# attributes that change how a layer works; others (dropout rates) may differ between equal layers
_FUNCTIONAL_ATTRIBUTES = re.compile(
    r"(sliding|window|shift_size|chunk|layer_type|attention_type|use_rope|is_cross|no_rope|is_local|kv_shared"
    r"|look_\w+_block|top_k|dilation)"
)
_NO_OP = re.compile(r"(Drop|Identity)")
_PIXEL_CHANNELS = 3
ROTARY_CLASS = re.compile(r"(Rotary|RoPE|Rope)")
_RELATIVE_BIAS = re.compile(r"Relative\w*(Bias|Position)")


def find_stacks(node: ModuleNode, path: str, without: Collection[str] = ()) -> Iterator[tuple[str, ModuleNode]]:
    """The outermost stacks of layers at and below a node, each with its path; paths in `without` are skipped.

    A stack whose layers are only stages (Swin) is skipped for the stacks inside these stages.
    """
    if path in without or not node.total:
        return
    below = [found for name, child in node.children for found in find_stacks(child, join(path, name), without)]
    children = [child for _, child in node.children]
    is_outermost = is_stack(node) and (not below or any(map(_has_attention_outside_stacks, children)))
    yield from [(path, node)] if is_outermost else below


def is_stack(node: ModuleNode) -> bool:
    """Whether a module is a numbered container of layers, by their class names or their attention."""
    if not is_list(node):
        return False
    # T5 numbers the parts of one layer: a list of attention and MLP is not a stack
    candidates = [child for _, child in node.children if not is_attention(child)]
    layers = sum(is_layer(child) or contains_attention(child) for child in candidates)
    has_attention = any(map(contains_attention, candidates))
    if not has_attention and (len(node.children) == 1 or _takes_pixels(candidates)):
        return False  # a part of a block, or a stem
    attentions = len(node.children) - len(candidates) if layers else 0
    # convolutions and activations with a block here and there are not a stack
    return 2 * (layers + attentions) > len(node.children)


def contains_stack(node: ModuleNode) -> bool:
    """Whether a stack of layers is at or below a node."""
    return any(is_stack(module) for _, module in distinct_modules(node, ""))


def last_stack(node: ModuleNode) -> ModuleNode | None:
    """The last of the outermost stacks of layers at or below a node."""
    if not node.total or is_stack(node):
        return node if node.total else None
    return next((found for _, child in reversed(node.children) if (found := last_stack(child))), None)


def _takes_pixels(modules: Sequence[ModuleNode]) -> bool:
    """Whether the first convolution has the channels of an image as input."""
    channels = (convolution_channels(leaf) for module in modules for _, leaf in leaves(module, ""))
    return next((pair[0] == _PIXEL_CHANNELS for pair in channels if pair), False)


def _has_attention_outside_stacks(node: ModuleNode) -> bool:
    return not is_stack(node) and any(
        (not is_list(child) and contains_attention(child)) or _has_attention_outside_stacks(child)
        for _, child in node.children
    )


def layer_passes(tree: ModuleTree, path: str, count: int) -> list[int | None]:
    """How many times each layer of the stack at a path runs: in its own loop, times the loops around the stack."""
    passes: list[int | None] = [1] * count
    for at, times in tree.passes.items():
        if at == path and len(times) == count:
            passes = [_times(one, other) for one, other in zip(passes, times, strict=True)]
        elif at != path and is_below(path, at):
            index = path.removeprefix(f"{at}.").partition(".")[0]
            around = dict(enumerate(times)).get(int(index) if index.isdigit() and len(times) > 1 else 0, 1)
            passes = [_times(each, around) for each in passes]
    return passes


def _times(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one * other


def distinct_layers(
    stack: ModuleNode, declared: Sequence[DeclaredLayerFacts]
) -> tuple[list[tuple[ModuleNode, DeclaredLayerFacts]], tuple[int, ...]]:
    """The distinct layers of a stack with their declared facts, and for each layer the index of its kind."""
    kinds: dict[Hashable, tuple[ModuleNode, DeclaredLayerFacts]] = {}
    keys = []
    for (_, layer), facts in zip(stack.children, declared, strict=True):
        keys.append((layer_signature(layer), facts))
        kinds.setdefault(keys[-1], (layer, facts))
    index = {key: number for number, key in enumerate(kinds)}
    return list(kinds.values()), tuple(index[key] for key in keys)


@lru_cache(maxsize=1 << 12)
def layer_signature(node: ModuleNode) -> tuple[object, ...]:
    """Class names, shapes and functional attributes of a module and all below."""
    functional = tuple(pair for pair in node.attributes if _FUNCTIONAL_ATTRIBUTES.search(pair[0]))
    below = tuple(
        (name, layer_signature(child))
        for name, child in node.children
        if child.total or child.children or not _NO_OP.search(child.class_name)
    )
    return (node.class_name, functional, node.parameters, node.forward_order, below)


def distinct_modules(node: ModuleNode, path: str) -> Iterator[tuple[str, ModuleNode]]:
    """A node and all below, parents first; of equal modules only the first, with its path."""
    seen: set[ModuleNode] = set()
    pending = [(path, node)]
    while pending:
        at, module = pending.pop()
        if module not in seen:
            seen.add(module)
            yield at, module
            pending.extend((join(at, name), child) for name, child in reversed(module.children))


class DeclaredLayerFacts(Struct, frozen=True):
    """What the configuration's per-layer lists declare for one layer."""

    layer_type: str | None = None
    """`sliding_attention`, `full_attention`, `linear_attention`, `window_attention` …"""
    theta: float | None = None
    """The base of its rotary embedding; 0 for a layer without one."""


class LayerContext(Struct, frozen=True):
    """What a layer depends on outside its own modules."""

    config: Mapping[str, Any] = field(default_factory=dict)
    """The configuration of the part, for facts that no module has (experts per token)."""
    role: Role | None = None
    rotary: tuple[tuple[str, ModuleNode], ...] = ()
    """The rotary embeddings that the layers share, by name."""
    relative: bool = False
    """Whether the layers share a relative position bias."""
    window: int | None = None
    """Side of the tower's attention windows, in patches."""
    declared: DeclaredLayerFacts = field(default_factory=DeclaredLayerFacts)
    built: bool = True
    """Whether the modules were built. Headers show no functions and no modules without tensors."""


def layer_context(  # noqa: PLR0913 - the stack's place, its component and its configuration
    tree: ModuleTree,
    stack: str,
    top: str,
    role: Role,
    config: Mapping[str, Any],
    *,
    claimed: Collection[str] = (),
) -> LayerContext:
    """The context that a stack's layers share, from its component at `top` without the paths in `claimed`."""
    holders = list(_holders(tree, stack, top))
    shared = list(_shared_modules(holders, stack, [path for path in claimed if path != top]))
    return LayerContext(
        config,
        role,
        tuple((name, node) for name, node in shared if ROTARY_CLASS.search(node.class_name)),
        any(_RELATIVE_BIAS.search(node.class_name) for _, node in shared),
        _window_in_patches(holders, config),
        built=not tree.unknowns.classes,
    )


def declared_layer_facts(config: Mapping[str, Any], count: int) -> tuple[DeclaredLayerFacts, ...]:
    """What the configuration declares for each of `count` layers."""
    types: Sequence[str | None] = _layer_types(config, count) or [None] * count
    thetas = _per_layer(config, "layer_rope_theta", count) or [None] * count
    return tuple(map(DeclaredLayerFacts, types, map(as_float, thetas)))


def _layer_types(config: Mapping[str, Any], count: int) -> Sequence[str] | None:
    for key in ("layer_types", "layers_block_type", "attention_types"):
        types = _per_layer(config, key, count)
        if types and all(isinstance(each, str) for each in types):
            return types
    for key in ("fullatt_block_indexes", "global_attn_indexes"):
        full = config.get(key)
        if isinstance(full, (list, tuple)) and full and all(isinstance(each, int) for each in full):
            return ["full_attention" if index in full else "window_attention" for index in range(count)]
    return None


def _per_layer(config: Mapping[str, Any], key: str, count: int) -> Sequence[Any] | None:
    """The list at a key, if it has one entry per layer."""
    value = config.get(key)
    return value if isinstance(value, (list, tuple)) and len(value) == count else None


def _window_in_patches(holders: Sequence[tuple[str, ModuleNode]], config: Mapping[str, Any]) -> int | None:
    """A tower declares its window in pixels, as a multiple of its patch size."""
    for _, node in holders:
        if size := as_int(node.attribute("window_size")):
            patch = as_int(node.attribute("patch_size")) or as_int(config.get("patch_size"))
            return size // patch if patch else None
    return None


def _shared_modules(
    holders: Sequence[tuple[str, ModuleNode]], stack: str, others: Sequence[str]
) -> Iterator[tuple[str, ModuleNode]]:
    """The siblings of the stack and of the modules that hold it, nearest first, with all below them."""
    for holder, node in holders:
        for name, child in node.children:
            at = join(holder, name)
            if not is_below(stack, at) and not any(is_below(other, at) for other in others):
                yield name, child
                yield from breadth_first(child, name) if not name.isdigit() else ()


def _holders(tree: ModuleTree, path: str, top: str) -> Iterator[tuple[str, ModuleNode]]:
    """The modules that hold a path, nearest first, up to `top`."""
    while is_below(path := parent_path(path), top):
        node = tree.find(path)
        if node is not None:
            yield path, node
        if not path:
            return
