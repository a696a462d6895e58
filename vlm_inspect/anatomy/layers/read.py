"""Reads stacks and layers into records: attention, MLP, norms."""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec.structs import replace

from vlm_inspect.anatomy.layers.attention import read_attention
from vlm_inspect.anatomy.layers.experts import find_experts
from vlm_inspect.anatomy.layers.mlp import layer_mlp
from vlm_inspect.anatomy.layers.norms import layer_norms, norm_placement
from vlm_inspect.anatomy.layers.projections import attention_projections
from vlm_inspect.anatomy.layers.stacks import LayerContext, declared_layer_facts, distinct_layers
from vlm_inspect.anatomy.layers.token_mixers import find_mixers
from vlm_inspect.anatomy.module_kinds import as_int, breadth_first, linear_widths
from vlm_inspect.core.architecture import Layer, LayerStack, Loop
from vlm_inspect.core.module_tree import ModuleNode, is_below

_WHY_PASSES_UNKNOWN = "a caller of forward says how often its layers run"
_FUSED_NAMES = frozenset({"att_proj", "qkv", "qkv_proj", "query_key_value", "Wqkv", "wqkv", "c_attn"})
_QUERY_NAMES = frozenset({"q_proj", "query", "wq"})
_EXPERT_COUNTS = ("num_experts", "moe_num_experts", "n_routed_experts", "num_local_experts")


def read_stack(path: str, stack: ModuleNode, context: LayerContext) -> LayerStack:
    """A stack of layers, with one record per kind of layer."""
    declared = declared_layer_facts(context.config, len(stack.children))
    examples, order = distinct_layers(stack, declared)
    layers = [read_layer(layer, replace(context, declared=facts)) for layer, facts in examples]
    # modules that differ may be equal as records
    kinds: list[Layer] = []
    for layer in layers:
        if layer not in kinds:
            kinds.append(layer)
    merged = tuple(kinds.index(layers[kind]) for kind in order)
    return LayerStack(path, len(order), tuple(kinds), merged if len(kinds) > 1 else ())


def with_passes(stack: LayerStack, passes: Sequence[int | None]) -> LayerStack:
    """The stack with how often its layers run, from a number for each layer."""
    if None in passes:
        return replace(stack, passes=None, unknown={**stack.unknown, "passes": _WHY_PASSES_UNKNOWN})
    known = [each for each in passes if each is not None]
    whole = math.gcd(*known) or 1
    starts = [index for index, each in enumerate(known) if index == 0 or each != known[index - 1]]
    ends = [*(start - 1 for start in starts[1:]), len(known) - 1]
    loops = tuple(Loop(first, last, known[first] // whole) for first, last in zip(starts, ends, strict=True))
    return replace(stack, passes=whole, loops=tuple(loop for loop in loops if loop.passes != 1))


def read_layer(node: ModuleNode, context: LayerContext) -> Layer:
    """The record of one layer."""
    mixers = find_mixers(node)
    attentions = [read_attention(path, mixer, node, context) for path, mixer in mixers]
    mlp = layer_mlp(node, [path for path, _ in mixers], context.config)
    if not mixers and mlp is not None and mlp.class_name is None and _holds_attention(node):
        attentions = [replace(read_attention("", node, node, context), class_name=None)]
    main = next((each for each in attentions if not each.cross), attentions[0] if attentions else None)
    placement, parallel = norm_placement(node)
    groups = list(find_experts(node))
    norms = layer_norms(node)
    unknown = {}
    if any(is_below(group.path, path) for group in groups for path, _ in mixers):
        unknown["active"] = "its attention has experts, which are not counted"
    declared = (child.attribute(*_EXPERT_COUNTS) for _, child in breadth_first(node) if child.total)
    if not groups and any((as_int(count) or 0) > 1 for count in declared):
        unknown["active"] = "its experts lie in its weights in a way that is not read"
    if norms and placement is None:
        unknown["norm_placement"] = "the order in which its code uses them does not say"
    return Layer(
        class_name=node.class_name,
        parameters=node.total,
        attention=main,
        mlp=mlp,
        norms=norms,
        norm_placement=placement,
        parallel=parallel,
        extra_attention=tuple(each for each in attentions if each is not main),
        unknown=unknown,
    )


def _holds_attention(layer: ModuleNode) -> bool:
    """Whether the projections of the attention are in the layer itself, as in Molmo's blocks."""
    names = {name for name, child in layer.children if linear_widths(child) is not None}
    projections = attention_projections(layer)
    return bool(names & _FUSED_NAMES) or bool(projections.query and projections.key and names & _QUERY_NAMES)
