"""The experts of a sparse MLP: a list of modules, or modules that hold them all as 3-D parameters."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal

from msgspec import Struct

from vlm_inspect.anatomy.layers.projections import Widths, feed_forward
from vlm_inspect.anatomy.leaves import convolution_channels, first_whole, is_list, whole
from vlm_inspect.core.architecture import Experts, Layer, LayerStack
from vlm_inspect.core.module_tree import ModuleNode, ModuleTree, is_below, join

_PER_TOKEN_ATTRIBUTES: tuple[str, ...] = (
    "top_k",
    "num_experts_per_tok",
    "moe_topk",
    "moe_top_k",
    "num_experts_per_token",
    "topk",
    "moe_k",
    "num_selected_experts",
)
_PER_TOKEN = (*_PER_TOKEN_ATTRIBUTES, "top_k_experts", "n_activated_experts", "experts_per_token")
_SHARED = ("n_shared_experts", "num_shared_experts", "moe_num_shared_experts")
_SCORING = ("scoring_func", "moe_router_activation_func", "router_scoring_func", "score_function")
_LISTED = re.compile(r"^experts$")
_SHARED_NAME = re.compile(r"shared_?(expert|mlp)")
_ROUTER = re.compile(r"(^|_)(gate|router|wg|gating)$")
_ROUTER_CLASS = re.compile(r"(Router|Gating)")
_DOWN = re.compile(r"(down|w2|output|fc2|wo)")
_CORRECTION = "e_score_correction_bias"
_FUSED_DIMENSIONS = 3
_WHY_UNKNOWN = "neither a module nor the configuration says how many experts a token is routed to"
_WHY_UNEVEN = "its experts are not alike"


class Group(Struct, frozen=True):
    """Experts as they lie in a layer."""

    path: str
    count: int
    size: int | None
    """Parameters of one; None where they differ."""
    widths: Widths
    holders: tuple[ModuleNode, ...]
    """The modules that hold the group, the nearest first."""


def groups(node: ModuleNode, path: str = "", holders: tuple[ModuleNode, ...] = ()) -> Iterator[Group]:
    """The groups of experts at and below a node, shared ones left out."""
    name = path.rpartition(".")[2]
    if _SHARED_NAME.search(name) or not node.total:
        return
    if _LISTED.search(name) and is_list(node) and len(node.children) > 1:
        yield _listed(node, path, holders)
        return
    weights = list(_stacked(node))
    if len(weights) > 1:
        yield _fused(weights, path, holders if node.parameters else (node, *holders))
        return
    for key, child in node.children:
        yield from groups(child, join(path, key), (node, *holders))


def read_experts(group: Group, config: Mapping[str, Any]) -> Experts:
    """A group of experts, what is shared beside it, and what chooses."""
    modality = _modality(group.path)
    # where each modality has experts, the shared ones are told with the text's
    shared, shared_width = _shared(group, config) if modality != "vision" else (None, None)
    router = _router(group)
    per_token = _per_token(group) or first_whole(config, _PER_TOKEN)
    unknown = {} if per_token else {"per_token": _WHY_UNKNOWN}
    if group.size is None:
        unknown["parameters"] = _WHY_UNEVEN
    return Experts(
        count=group.count,
        per_token=per_token,
        hidden_width=group.widths.hidden,
        shared=shared,
        shared_width=shared_width,
        router=router.class_name if router else None,
        scoring=_scoring(router, config),
        parameters=group.size,
        path=group.path,
        modality=modality,
        unknown=unknown,
    )


def _listed(node: ModuleNode, path: str, holders: tuple[ModuleNode, ...]) -> Group:
    kinds = {id(child) for _, child in node.children}
    sample = node.children[0][1]
    size = sample.total if len(kinds) == 1 else None
    return Group(path, len(node.children), size, feed_forward(sample), holders)


def _stacked(node: ModuleNode) -> Iterator[tuple[str, tuple[int, ...], int]]:
    """(name, shape, parameters of one expert) of the weights that hold one matrix per expert.

    They are the module's own, or one in each of its children (`input_linear`, `output_linear`); their
    biases count with them.
    """
    if convolution_channels(node) is not None:
        return
    own = [(name, name, shape, node) for name, shape in node.parameters]
    inner = [
        (key, name, shape, child)
        for key, child in node.children
        if not _SHARED_NAME.search(key) and convolution_channels(child) is None and not child.children
        for name, shape in child.parameters
    ]
    for held in (own, inner):
        cubes = {key: shape for key, _, shape, _ in held if len(shape) == _FUSED_DIMENSIONS and shape[0] > 1}
        if len(cubes) > 1 and len({shape[0] for shape in cubes.values()}) == 1 and _says_experts(node, held):
            count = next(iter(cubes.values()))[0]
            for key, _, shape, _ in held:
                if (held is own or key in cubes) and len(shape) > 1 and shape[0] == count:
                    yield key, shape, _product(shape[1:])
            return


def _says_experts(node: ModuleNode, held: list[tuple[str, str, tuple[int, ...], ModuleNode]]) -> bool:
    """Matrices may be stacked for other reasons: it is called experts, or says how many it has."""
    modules = [node, *(holder for *_, holder in held)]
    names = " ".join(module.class_name for module in modules)
    return "xpert" in names or any(module.attribute("num_experts") is not None for module in modules)


def _fused(
    weights: list[tuple[str, tuple[int, ...], int]], path: str, holders: tuple[ModuleNode, ...]
) -> Group:
    cubes = {name: shape for name, shape, _ in weights if len(shape) == _FUSED_DIMENSIONS}
    size = sum(each for _, _, each in weights)
    return Group(path, next(iter(cubes.values()))[0], size, _fused_widths(cubes), holders)


def _fused_widths(cubes: Mapping[str, tuple[int, ...]]) -> Widths:
    """Of one expert, whichever way its matrices lie: what up and down have in common is the stream."""
    down = next((shape[1:] for name, shape in cubes.items() if _DOWN.search(name)), None)
    ups = [shape[1:] for name, shape in cubes.items() if not _DOWN.search(name)]
    if down is None or not ups:
        return Widths()
    for stream, hidden in (down, down[::-1]):
        for gated in (False, True):
            wanted = sorted((stream, hidden * 2 if gated else hidden))
            if sorted(ups[0]) == wanted:
                return Widths(stream, hidden, stream, gated or len(ups) > 1)
    return Widths()


def _shared(group: Group, config: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """How many experts are shared, and their width together."""
    for holder in group.holders:
        for name, child in holder.children:
            if _SHARED_NAME.search(name) and not name.endswith("gate") and child.total:
                return _shared_part(child, config)
    return None, None


def _shared_part(node: ModuleNode, config: Mapping[str, Any]) -> tuple[int | None, int | None]:
    cubes = {name: shape for name, shape in node.parameters if len(shape) == _FUSED_DIMENSIONS}
    if cubes:
        count = next(iter(cubes.values()))[0]
        width = _fused_widths(cubes).hidden
    elif is_list(node):
        count, width = len(node.children), feed_forward(node.children[0][1]).hidden
    else:
        return first_whole(config, _SHARED) or 1, feed_forward(node).hidden
    return count, width * count if width else None


def _router(group: Group) -> ModuleNode | None:
    for holder in group.holders:
        for name, child in holder.children:
            if _ROUTER_CLASS.search(child.class_name) or (_ROUTER.search(name) and "shared" not in name):
                return child
    return None


def _scoring(router: ModuleNode | None, config: Mapping[str, Any]) -> str | None:
    own = router.attribute(*_SCORING) if router is not None else None
    stated = (
        own if isinstance(own, str) else next((config[name] for name in _SCORING if name in config), None)
    )
    if isinstance(stated, str):
        return stated
    corrected = router is not None and _CORRECTION in {
        name for name, _ in (*router.buffers, *router.parameters)
    }
    return "sigmoid" if corrected else None


def _per_token(group: Group) -> int | None:
    for holder in group.holders:
        for each in (holder, *(child for _, child in holder.children)):
            value = whole(each.attribute(*_PER_TOKEN_ATTRIBUTES))
            if value:
                return value
    return None


def _modality(path: str) -> Literal["text", "vision"] | None:
    if re.search(r"(vision|image|visual)", path):
        return "vision"
    return "text" if re.search(r"text", path) else None


def _product(sides: tuple[int, ...]) -> int:
    product = 1
    for side in sides:
        product *= side
    return product


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
