"""The MLP of a layer: dense, sparse, or both in parallel."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from itertools import chain
from typing import Any

from vlm_inspect.anatomy.layers.experts import ExpertGroup, find_experts, read_experts
from vlm_inspect.anatomy.layers.projections import MlpWidths, combined_widths, linear_paths, mlp_widths
from vlm_inspect.anatomy.module_kinds import breadth_first, is_activation, is_list, is_norm, used_activations
from vlm_inspect.core.architecture import Mlp
from vlm_inspect.core.module_tree import ModuleNode, is_below, last_name

_MLP_CLASS = re.compile(r"(MLP|Mlp|FeedForward|FFN|GLU|_?FF$|DenseActDense|(MoE|Moe|MOE)(Block|Layer)?$)")
_MLP_NAMES = frozenset({"mlp", "ffn", "ff", "feed_forward", "feedforward", "block_sparse_moe"})
_ROUTER_PATH = re.compile(r"(^|\.)(\w*router\w*|gate|shared_expert_gate)(\.|$)")
_ATTENTION_PATH = re.compile(r"(attn|attention)")
_ACTIVATION_ATTRIBUTES = ("act_fn", "activation_fn", "activation", "act", "hidden_act", "intermediate_act_fn")
_ACTIVATION_KEYS = ("hidden_act", "hidden_activation", "activation_function", "activation", "dense_act_fn")


def layer_mlp(layer: ModuleNode, mixers: Collection[str], config: Mapping[str, Any]) -> Mlp | None:
    """The MLP of a layer, outside its `mixers`; None if it has none."""
    groups = [group for group in find_experts(layer) if not _is_in(group.path, mixers)]
    found = _mlp_module(layer, mixers, groups)
    if found is not None:
        path, node = found
        is_sparse = any(is_below(group.path, path) for group in groups)
        return _build_mlp(node, node.class_name, groups, config, None if is_sparse else mlp_widths(node))
    if groups:
        return _build_mlp(layer, None, groups, config)
    return _mlp_without_module(layer, mixers, config)


def read_mlp(node: ModuleNode) -> Mlp:
    """The MLP that a module is; the widths of a sparse one are those of one expert."""
    return _build_mlp(node, node.class_name, list(find_experts(node)), {})


def _build_mlp(
    node: ModuleNode,
    class_name: str | None,
    groups: list[ExpertGroup],
    config: Mapping[str, Any],
    widths: MlpWidths | None = None,
) -> Mlp:
    activation = _activation(node, config)
    widths = widths or (groups[0].widths if groups else mlp_widths(node))
    return Mlp(
        class_name=class_name,
        input_width=widths.input,
        hidden_width=widths.hidden,
        output_width=widths.output,
        gated=widths.gated,
        activation=activation,
        experts=tuple(read_experts(group, config) for group in groups),
        unknown={} if activation else {"activation": "no module, attribute or configuration names it"},
    )


def _mlp_module(
    layer: ModuleNode, mixers: Collection[str], groups: list[ExpertGroup]
) -> tuple[str, ModuleNode] | None:
    experts = {group.path for group in groups}
    for path, child in breadth_first(layer):
        is_named = last_name(path) in _MLP_NAMES or _MLP_CLASS.search(child.class_name)
        if not is_named or not child.total or is_norm(child) or is_list(child):
            continue
        # classes are named after their model, so a norm or a router may have MoE in its name
        has_matrix = any(len(shape) > 1 for _, shape in child.parameter_paths())
        overlaps_mixer = _is_in(path, mixers) or any(is_below(mixer, path) for mixer in mixers)
        if has_matrix and not overlaps_mixer and not _is_in(path, experts - {path}):
            return path, child
    return None


def _is_in(path: str, modules: Collection[str]) -> bool:
    return any(is_below(path, module) for module in modules)


def _mlp_without_module(layer: ModuleNode, mixers: Collection[str], config: Mapping[str, Any]) -> Mlp | None:
    """The two projections of a layer without an MLP module.

    `fc1` and `fc2` (BART, OPT), or `intermediate.dense` and `output.dense` (BERT).
    """
    projections = [
        (path, widths)
        for path, widths in linear_paths(layer)
        if not _is_in(path, mixers) and not _ATTENTION_PATH.search(path)
    ]
    ups = [widths for _, widths in projections if widths[1] > widths[0]]
    downs = [widths for _, widths in reversed(projections) if widths[0] > widths[1]]
    # other projections may be of the attention, where it is in the layer, too
    pairs = ((up, down) for down in downs for up in ups if up[1] in {down[0], 2 * down[0]})
    up, down = next(pairs, (None, None))
    if up is None or down is None:
        return None
    gated = combined_widths([each for each in projections if each[1] in (up, down)]).gated
    return _build_mlp(layer, None, [], config, MlpWidths(up[0], down[0], down[1], gated))


def _activation(node: ModuleNode, config: Mapping[str, Any]) -> str | None:
    # a router's function on its scores is not the activation of the MLP
    modules = [child for path, child in node.walk() if not _ROUTER_PATH.search(path)]
    names = chain(
        (module.class_name for module in modules if is_activation(module)),
        (module.attribute(*_ACTIVATION_ATTRIBUTES) for module in modules),
        used_activations(node),
        (config.get(key) for key in _ACTIVATION_KEYS),
    )
    return next((name for name in names if isinstance(name, str)), None)
