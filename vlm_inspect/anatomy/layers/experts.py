"""Experts of a sparse MLP: a list of modules, or modules whose 3-D parameters stack all experts."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from msgspec import Struct

from vlm_inspect.anatomy.layers.projections import MlpWidths, mlp_widths
from vlm_inspect.anatomy.module_kinds import convolution_channels, first_attribute, first_int, is_list
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
_WHY_UNKNOWN = "nothing says to how many experts a token is routed"


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


def find_experts(node: ModuleNode, path: str = "", holders: tuple[ModuleNode, ...] = ()) -> Iterator[ExpertGroup]:
    """The groups of routed experts at and below a node; `holders` are the modules above it, nearest first."""
    name = last_name(path)
    if _SHARED_NAME.search(name) or not node.total:
        return
    modules = [child for _, child in node.children]
    if name == "experts" and is_list(node) and len(modules) > 1:
        are_equal = len(set(map(id, modules))) == 1
        size = modules[0].total if are_equal else None
        yield ExpertGroup(path, len(modules), size, mlp_widths(modules[0]), holders)
    elif len(weights := _stacked_weights(node)) > 1:
        size = sum(math.prod(each.shape[1:]) for each in weights)
        holders = holders if node.parameters else (node, *holders)
        widths = _stacked_widths((each.name, each.shape) for each in weights)
        yield ExpertGroup(path, weights[0].shape[0], size, widths, holders)
    else:
        for key, child in node.children:
            yield from find_experts(child, join(path, key), (node, *holders))


def read_experts(group: ExpertGroup, config: Mapping[str, Any]) -> Experts:
    """The record of a group of experts; `config` has what no module has."""
    modality = _modality(group.path)
    # if text and vision have experts each, the shared ones are listed with the text's
    shared, shared_width = _shared_experts(group, config) if modality != "vision" else (None, None)
    router = _router(group)
    near = (module for holder in group.holders for module in (holder, *dict(holder.children).values()))
    per_token = first_attribute(near, _PER_TOKEN_ATTRIBUTES) or first_int(config, _PER_TOKEN_KEYS)
    unknown = {} if per_token else {"per_token": _WHY_UNKNOWN}
    if group.size is None:
        unknown["parameters"] = "its experts are not alike"
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
        cubes = {each.name: each.shape for each in weights if _is_stack(each.shape) and each.shape[0] > 1}
        counts = {shape[0] for shape in cubes.values()}
        if len(cubes) > 1 and len(counts) == 1 and _names_experts(node, weights):
            return [
                each
                for each in weights
                if (weights is own or each.name in cubes) and len(each.shape) > 1 and each.shape[0] in counts
            ]
    return []


def _is_stack(shape: Shape) -> bool:
    return len(shape) == 3  # noqa: PLR2004 - a matrix per expert


def _names_experts(node: ModuleNode, weights: list[_ExpertWeight]) -> bool:
    """Matrices may be stacked for other reasons, so a class name or `num_experts` must confirm it."""
    modules = [node, *(each.holder for each in weights)]
    return any("xpert" in module.class_name or module.attribute("num_experts") is not None for module in modules)


def _stacked_widths(parameters: Iterable[tuple[str, Shape]]) -> MlpWidths:
    """The widths of one expert. Matrices may be transposed: the side that up and down share is the input."""
    cubes = {name: shape for name, shape in parameters if _is_stack(shape)}
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
    count = next((shape[0] for _, shape in node.parameters if _is_stack(shape)), None)
    if count is not None:
        width = _stacked_widths(node.parameters).hidden
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
    return "sigmoid" if "e_score_correction_bias" in dict(tensors) else None


def _modality(path: str) -> Literal["text", "vision"] | None:
    if re.search(r"(vision|image|visual)", path):
        return "vision"
    return "text" if "text" in path else None


def inactive_parameters(tree: ModuleTree, stacks: tuple[LayerStack, ...]) -> tuple[int, str | None]:
    """The parameters of experts that a text token is not routed to, or 0 and why they cannot be counted.

    Tied experts count at the path where their parameters count.
    """
    tied = tree.tied_paths
    total = 0
    for stack in stacks:
        for path, layer in _layers(tree, stack):
            groups = layer.mlp.experts if layer.mlp else ()
            reasons = (reason for group in groups for reason in group.unknown.values())
            reason = layer.unknown.get("active") or next(reasons, None)
            if reason is not None:
                return 0, reason
            for group in groups:
                at = join(path, group.path)
                total += 0 if any(is_below(other, at) for other in tied) else inactive_in_group(group)
    return total, None


def inactive_in_group(experts: Experts) -> int:
    """The parameters of one group of experts that a text token is not routed to."""
    chosen = 0 if experts.modality == "vision" else experts.per_token or 0
    return (experts.count - chosen) * (experts.parameters or 0)


def _layers(tree: ModuleTree, stack: LayerStack) -> Iterator[tuple[str, Layer]]:
    """Each layer of a stack with its path."""
    node = tree.find(stack.path)
    order = stack.order or (0,) * stack.count
    for (name, _), kind in zip(node.children if node else (), order, strict=True):
        yield join(stack.path, name), stack.kinds[kind]
