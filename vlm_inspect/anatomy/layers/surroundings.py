"""What lies around a stack of layers and tells how they work: configuration, rotary embedding, role."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from vlm_inspect.anatomy.leaves import breadth_first
from vlm_inspect.anatomy.values import number, whole
from vlm_inspect.architecture import Role
from vlm_inspect.tree import ModuleNode, ModuleTree, is_below, join

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
