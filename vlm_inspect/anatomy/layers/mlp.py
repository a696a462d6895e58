"""A layer's feed-forward part: dense, sparse, or both side by side."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from vlm_inspect.anatomy.layers.experts import Group, groups, read_experts
from vlm_inspect.anatomy.layers.projections import Widths, feed_forward, linears, widths_of
from vlm_inspect.anatomy.leaves import breadth_first, is_activation, is_list, is_norm, used_activations
from vlm_inspect.core.architecture import Mlp
from vlm_inspect.core.module_tree import ModuleNode, is_below

_CLASS = re.compile(r"(MLP|Mlp|FeedForward|FFN|GLU|_?FF$|DenseActDense|(MoE|Moe|MOE)(Block|Layer)?$)")
_NAMES = frozenset({"mlp", "ffn", "ff", "feed_forward", "feedforward", "block_sparse_moe"})
_ROUTER = re.compile(r"(^|\.)(\w*router\w*|gate|shared_expert_gate)(\.|$)")
_NO_ACTIVATION = "no module, attribute or configuration names it"
_ATTENTION_PATH = re.compile(r"(attn|attention)")
_ACTIVATIONS = ("act_fn", "activation_fn", "activation", "act", "hidden_act", "intermediate_act_fn")
_STATED_ACTIVATIONS = ("hidden_act", "hidden_activation", "activation_function", "activation", "dense_act_fn")


def layer_mlp(layer: ModuleNode, mixers: Collection[str], config: Mapping[str, Any]) -> Mlp | None:
    """The MLP of a layer, outside what mixes its tokens; None where it has none."""
    found = [group for group in groups(layer) if not any(is_below(group.path, at) for at in mixers)]
    own = _module(layer, mixers, found)
    if own is not None:
        return _with_module(*own, found, config)
    if found:
        return _read(layer, None, found, config)
    return _bare(layer, mixers, config)


def read_mlp(node: ModuleNode, config: Mapping[str, Any]) -> Mlp:
    """An MLP with a module of its own; of a sparse one, the experts and the widths of one of them."""
    return _read(node, node.class_name, list(groups(node)), config)


def _with_module(path: str, node: ModuleNode, found: list[Group], config: Mapping[str, Any]) -> Mlp:
    """A module of the layer, and the experts inside it or beside it."""
    inside = any(is_below(group.path, path) for group in found)
    widths = None if inside else feed_forward(node)
    return _read(node, node.class_name, found, config, widths)


def _read(
    node: ModuleNode,
    class_name: str | None,
    found: list[Group],
    config: Mapping[str, Any],
    widths: Widths | None = None,
) -> Mlp:
    activation = _activation(node, config)
    widths = widths or (found[0].widths if found else feed_forward(node))
    return Mlp(
        class_name=class_name,
        input_width=widths.given,
        hidden_width=widths.hidden,
        output_width=widths.made,
        gated=widths.gated,
        activation=activation,
        experts=tuple(read_experts(group, config) for group in found),
        unknown={} if activation else {"activation": _NO_ACTIVATION},
    )


def _module(layer: ModuleNode, mixers: Collection[str], found: list[Group]) -> tuple[str, ModuleNode] | None:
    experts = {group.path for group in found}
    for path, child in breadth_first(layer):
        if not child.total or is_norm(child) or is_list(child) or not _projects(child):
            continue
        if any(is_below(path, at) for at in mixers) or any(is_below(at, path) for at in mixers):
            continue
        if any(path != at and is_below(path, at) for at in experts):
            continue
        if path.rpartition(".")[2] in _NAMES or _CLASS.search(child.class_name):
            return path, child
    return None


def _projects(node: ModuleNode) -> bool:
    """Whether it holds a matrix at all: classes are named after models, and models after their experts."""
    return any(len(shape) > 1 for _, child in node.walk() for _, shape in child.parameters)


def _bare(layer: ModuleNode, mixers: Collection[str], config: Mapping[str, Any]) -> Mlp | None:
    """The two projections of a layer that has no MLP module.

    `fc1` and `fc2` (BART, OPT), or BERT's `intermediate.dense` and `output.dense`.
    """
    own = [
        (path, widths)
        for path, widths in linears(layer)
        if not any(is_below(path, at) for at in mixers) and not _ATTENTION_PATH.search(path)
    ]
    up = next((widths for _, widths in own if widths[1] > widths[0]), None)
    down = next((widths for _, widths in reversed(own) if widths[0] > widths[1]), None)
    if up is None or down is None or up[1] not in {down[0], 2 * down[0]}:
        return None
    widths, activation = widths_of(own), _activation(layer, config)
    return Mlp(
        input_width=up[0],
        hidden_width=down[0],
        output_width=down[1],
        gated=widths.gated,
        activation=activation,
        unknown={} if activation else {"activation": _NO_ACTIVATION},
    )


def _activation(node: ModuleNode, config: Mapping[str, Any]) -> str | None:
    """The experts' where there are some: what a router does to its scores is no activation of the MLP."""
    inside = [child for path, child in node.walk() if not _ROUTER.search(path)]
    for child in inside:
        if is_activation(child):
            return child.class_name
    for child in inside:
        named = child.attribute(*_ACTIVATIONS)
        if isinstance(named, str):
            return named
    if called := used_activations(node):
        return called[0]
    return next((config[name] for name in _STATED_ACTIVATIONS if isinstance(config.get(name), str)), None)
