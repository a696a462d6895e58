"""One kind of layer, read into its typed parts: attention, MLP, norms."""

from __future__ import annotations

from msgspec.structs import replace

from vlm_inspect.anatomy.layers.attention import read_attention
from vlm_inspect.anatomy.layers.experts import groups
from vlm_inspect.anatomy.layers.mixers import mixers
from vlm_inspect.anatomy.layers.mlp import layer_mlp
from vlm_inspect.anatomy.layers.norms import layer_norms, placement
from vlm_inspect.anatomy.layers.stacks import Surroundings, kinds_of, said_of_layers
from vlm_inspect.anatomy.leaves import breadth_first, whole
from vlm_inspect.core.architecture import Layer, LayerStack
from vlm_inspect.core.module_tree import ModuleNode, is_below

_NO_ORDER = "the order in which its code uses them does not say"
_UNREAD_EXPERTS = "its experts lie in its weights in a way that is not read"
_EXPERT_COUNTS = ("num_experts", "moe_num_experts", "n_routed_experts", "num_local_experts")
_ROUTED_ATTENTION = "its attention is routed among experts, which are not counted"


def read_stack(path: str, stack: ModuleNode, around: Surroundings) -> LayerStack:
    """A stack of layers: its kinds, told apart by their modules and by what the configuration says."""
    said = said_of_layers(around.config, len(stack.children))
    kinds, order = kinds_of(stack, said)
    firsts = [order.index(kind) for kind in range(len(kinds))]
    layers = [
        read_layer(layer, replace(around, said=said[first]))
        for layer, first in zip(kinds, firsts, strict=True)
    ]
    return merged(LayerStack(path, len(order), tuple(layers), order if len(kinds) > 1 else ()))


def merged(stack: LayerStack) -> LayerStack:
    """Kinds that are equal in all that is told of them, as one."""
    firsts = [stack.kinds.index(kind) for kind in stack.kinds]
    kept = sorted(set(firsts))
    order = tuple(kept.index(firsts[kind]) for kind in stack.order)
    return replace(
        stack, kinds=tuple(stack.kinds[kind] for kind in kept), order=order if len(kept) > 1 else ()
    )


def read_layer(node: ModuleNode, around: Surroundings) -> Layer:
    """One kind of layer."""
    mixing = mixers(node)
    attentions = [read_attention(path, mixer, node, around) for path, mixer in mixing]
    own = next((each for each in attentions if not each.cross), attentions[0] if attentions else None)
    where, side_by_side = placement(node)
    found = list(groups(node))
    routed = any(is_below(group.path, path) for group in found for path, _ in mixing)
    norms = tuple(layer_norms(node))
    unknown = {"active": _ROUTED_ATTENTION} if routed else {}
    if not found and any(_names_experts(child) for _, child in breadth_first(node)):
        unknown["active"] = _UNREAD_EXPERTS
    if norms and where is None:
        unknown["norm_placement"] = _NO_ORDER
    return Layer(
        class_name=node.class_name,
        parameters=node.total,
        attention=own,
        mlp=layer_mlp(node, [path for path, _ in mixing], around.config),
        norms=norms,
        norm_placement=where,
        parallel=side_by_side,
        extra_attention=tuple(each for each in attentions if each is not own),
        unknown=unknown,
    )


def _names_experts(node: ModuleNode) -> bool:
    """Whether a module says that it has several experts."""
    return node.total > 0 and (whole(node.attribute(*_EXPERT_COUNTS)) or 0) > 1
