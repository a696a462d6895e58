"""Experts of a sparse MLP: a list of modules, or modules whose 3-D parameters stack all experts."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from msgspec import Struct

from vlm_inspect.anatomy.layers.projections import MlpWidths, mlp_widths
from vlm_inspect.anatomy.leaves import as_int, convolution_channels, first_int, is_list
from vlm_inspect.core.architecture import Experts, Layer, LayerStack
from vlm_inspect.core.module_tree import ModuleNode, ModuleTree, Shape, is_below, join, last_name

_PER_TOKEN_ATTRIBUTES = (
    "top_k",
    "num_experts_per_tok",
    "moe_topk",
    "moe_top_k",
    "num_experts_per_token",
    "topk",
    "moe_k",
    "num_selected_experts",
)
_PER_TOKEN_KEYS = (*_PER_TOKEN_ATTRIBUTES, "top_k_experts", "n_activated_experts", "experts_per_token")
_SHARED_COUNT_KEYS = ("n_shared_experts", "num_shared_experts", "moe_num_shared_experts")
_SCORING = ("scoring_func", "moe_router_activation_func", "router_scoring_func", "score_function")
_SHARED_NAME = re.compile(r"shared_?(expert|mlp)")
_ROUTER_NAME = re.compile(r"(^|_)(gate|router|wg|gating)$")
_ROUTER_CLASS = re.compile(r"(Router|Gating)")
_DOWN_NAME = re.compile(r"(down|w2|output|fc2|wo)")
_SCORE_CORRECTION = "e_score_correction_bias"
_STACKED_DIMENSIONS = 3
_WHY_UNKNOWN = "neither a module nor the configuration says how many experts a token is routed to"
_WHY_UNEVEN = "its experts are not alike"


class ExpertGroup(Struct, frozen=True):
    """A group of experts in a layer."""

    path: str
    count: int
    size: int | None
    """Parameters of one expert; None if they differ."""
    widths: MlpWidths
    holders: tuple[ModuleNode, ...]
    """The modules that hold the group, the nearest first."""

    @property
    def siblings(self) -> Iterator[tuple[str, ModuleNode]]:
        """The children of its holders, by name."""
        return (child for holder in self.holders for child in holder.children)


class _ExpertWeight(Struct, frozen=True):
    """A parameter that stacks a matrix or a bias of each expert."""

    name: str
    shape: Shape
    holder: ModuleNode


# --- finding and reading experts ---


def find_experts(
    node: ModuleNode, path: str = "", holders: tuple[ModuleNode, ...] = ()
) -> Iterator[ExpertGroup]:
    """The groups of routed experts at and below a node; `holders` are the modules above it, nearest first."""
    name = last_name(path)
    if _SHARED_NAME.search(name) or not node.total:
        return
    if name == "experts" and is_list(node) and len(node.children) > 1:
        yield _listed_group(node, path, holders)
        return
    weights = _stacked_weights(node)
    if len(weights) > 1:
        yield _stacked_group(weights, path, holders if node.parameters else (node, *holders))
        return
    for key, child in node.children:
        yield from find_experts(child, join(path, key), (node, *holders))


def read_experts(group: ExpertGroup, config: Mapping[str, Any]) -> Experts:
    """The record of a group of experts; `config` has what no module has."""
    modality = _modality(group.path)
    # if text and vision have experts each, the shared ones are listed with the text's
    shared, shared_width = _shared_experts(group, config) if modality != "vision" else (None, None)
    router = _router(group)
    per_token = _per_token(group) or first_int(config, _PER_TOKEN_KEYS)
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


def _listed_group(node: ModuleNode, path: str, holders: tuple[ModuleNode, ...]) -> ExpertGroup:
    distinct = {id(child) for _, child in node.children}
    sample = node.children[0][1]
    size = sample.total if len(distinct) == 1 else None
    return ExpertGroup(path, len(node.children), size, mlp_widths(sample), holders)


def _stacked_weights(node: ModuleNode) -> list[_ExpertWeight]:
    """The parameters that stack a matrix per expert, with their biases.

    They are the module's own, or one in each of its children (`input_linear`, `output_linear`).
    """
    if convolution_channels(node) is not None:
        return []
    own = [_ExpertWeight(name, shape, node) for name, shape in node.parameters]
    inner = [
        _ExpertWeight(key, shape, child)
        for key, child in node.children
        if not _SHARED_NAME.search(key) and convolution_channels(child) is None and not child.children
        for _, shape in child.parameters
    ]
    for weights in (own, inner):
        cubes = {each.name: each.shape for each in weights if _stacks_matrices(each.shape)}
        counts = {shape[0] for shape in cubes.values()}
        if len(cubes) > 1 and len(counts) == 1 and _names_experts(node, weights):
            return [
                each
                for each in weights
                if (weights is own or each.name in cubes) and len(each.shape) > 1 and each.shape[0] in counts
            ]
    return []


def _stacks_matrices(shape: Shape) -> bool:
    return len(shape) == _STACKED_DIMENSIONS and shape[0] > 1


def _names_experts(node: ModuleNode, weights: list[_ExpertWeight]) -> bool:
    """Matrices may be stacked for other reasons, so a class name or `num_experts` must confirm it."""
    modules = [node, *(each.holder for each in weights)]
    return any(
        "xpert" in module.class_name or module.attribute("num_experts") is not None for module in modules
    )


def _stacked_group(weights: list[_ExpertWeight], path: str, holders: tuple[ModuleNode, ...]) -> ExpertGroup:
    cubes = {each.name: each.shape for each in weights if len(each.shape) == _STACKED_DIMENSIONS}
    size = sum(math.prod(each.shape[1:]) for each in weights)
    return ExpertGroup(path, weights[0].shape[0], size, _stacked_widths(cubes), holders)


def _stacked_widths(cubes: Mapping[str, Shape]) -> MlpWidths:
    """The widths of one expert. Matrices may be transposed: the side that up and down share is the input."""
    down = next((shape[1:] for name, shape in cubes.items() if _DOWN_NAME.search(name)), None)
    ups = [shape[1:] for name, shape in cubes.items() if not _DOWN_NAME.search(name)]
    if down is None or not ups:
        return MlpWidths()
    for width, hidden in (down, down[::-1]):
        for gated in (False, True):
            if sorted(ups[0]) == sorted((width, hidden * 2 if gated else hidden)):
                return MlpWidths(width, hidden, width, gated or len(ups) > 1)
    return MlpWidths()


def _shared_experts(group: ExpertGroup, config: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """The number of shared experts, and their hidden width together."""
    named = ((name, child) for name, child in group.siblings if _SHARED_NAME.search(name) and child.total)
    node = next((child for name, child in named if not name.endswith("gate")), None)
    if node is None:
        return None, None
    cubes = {name: shape for name, shape in node.parameters if len(shape) == _STACKED_DIMENSIONS}
    if cubes:
        count, width = next(iter(cubes.values()))[0], _stacked_widths(cubes).hidden
    elif is_list(node):
        count, width = len(node.children), mlp_widths(node.children[0][1]).hidden
    else:
        return first_int(config, _SHARED_COUNT_KEYS) or 1, mlp_widths(node).hidden
    return count, width * count if width else None


def _router(group: ExpertGroup) -> ModuleNode | None:
    for name, child in group.siblings:
        if _ROUTER_CLASS.search(child.class_name) or (_ROUTER_NAME.search(name) and "shared" not in name):
            return child
    return None


def _scoring(router: ModuleNode | None, config: Mapping[str, Any]) -> str | None:
    declared = router.attribute(*_SCORING) if router is not None else None
    if not isinstance(declared, str):
        declared = next((config[key] for key in _SCORING if key in config), None)
    if isinstance(declared, str):
        return declared
    tensors = (*router.buffers, *router.parameters) if router is not None else ()
    return "sigmoid" if _SCORE_CORRECTION in {name for name, _ in tensors} else None


def _per_token(group: ExpertGroup) -> int | None:
    for holder in group.holders:
        for module in (holder, *(child for _, child in holder.children)):
            value = as_int(module.attribute(*_PER_TOKEN_ATTRIBUTES))
            if value:
                return value
    return None


def _modality(path: str) -> Literal["text", "vision"] | None:
    if re.search(r"(vision|image|visual)", path):
        return "vision"
    return "text" if "text" in path else None


# --- active parameters ---


def inactive_parameters(tree: ModuleTree, stacks: tuple[LayerStack, ...]) -> tuple[int, str | None]:
    """The parameters of experts that a text token is not routed to, or 0 and why they cannot be counted.

    Tied experts count at the path where their parameters count.
    """
    tied = tree.tied_surplus()
    total = 0
    for stack in stacks:
        for path, layer in _sparse_layers(tree, stack):
            reason = _why_uncounted(layer)
            if reason is not None:
                return 0, reason
            for group in _expert_groups(layer):
                at = join(path, group.path)
                total += 0 if any(is_below(other, at) for other in tied) else inactive_in_group(group)
    return total, None


def inactive_in_group(experts: Experts) -> int:
    """The parameters of one group of experts that a text token is not routed to."""
    chosen = 0 if experts.modality == "vision" else experts.per_token or 0
    return (experts.count - chosen) * (experts.parameters or 0)


def _sparse_layers(tree: ModuleTree, stack: LayerStack) -> Iterator[tuple[str, Layer]]:
    """The layers that have experts, or whose active parameters are unknown; each with its path."""
    node = tree.find(stack.path)
    order = stack.order or (0,) * stack.count
    for (name, _), kind in zip(node.children if node else (), order, strict=True):
        layer = stack.kinds[kind]
        if layer.unknown.get("active") or _expert_groups(layer):
            yield join(stack.path, name), layer


def _expert_groups(layer: Layer) -> tuple[Experts, ...]:
    return layer.mlp.experts if layer.mlp else ()


def _why_uncounted(layer: Layer) -> str | None:
    reasons = (reason for group in _expert_groups(layer) for reason in group.unknown.values())
    return layer.unknown.get("active") or next(reasons, None)
