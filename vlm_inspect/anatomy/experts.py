"""The experts of a sparse MLP: a list of modules, or one module that holds them all as 3-D parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vlm_inspect.anatomy.leaves import is_list
from vlm_inspect.architecture import Experts
from vlm_inspect.tree import ModuleNode

_PER_TOKEN = ("num_experts_per_tok", "moe_topk", "moe_top_k", "top_k", "num_experts_per_token", "moe_k")
_SHARED = ("n_shared_experts", "num_shared_experts", "moe_num_shared_experts")
_FUSED_DIMENSIONS = 3


def read_experts(node: ModuleNode, config: Mapping[str, Any]) -> tuple[Experts | None, ModuleNode | None]:
    """The experts below an MLP, and one of them where they are modules; (None, None) for a dense MLP."""
    listed = _listed(node)
    if listed is not None:
        sample = listed.children[0][1]
        return _experts(len(listed.children), None, node, config), sample
    fused = _fused(node)
    if fused is None:
        return None, None
    count, hidden = fused
    return _experts(count, hidden, node, config), None


def _listed(node: ModuleNode) -> ModuleNode | None:
    for path, child in node.walk():
        if path.rpartition(".")[2] == "experts" and is_list(child) and len(child.children) > 1:
            return child
    return None


def _fused(node: ModuleNode) -> tuple[int, int | None] | None:
    """(experts, hidden width) of a module with 3-D weights."""
    for _, child in node.walk():
        weights = {name: shape for name, shape in child.parameters if len(shape) == _FUSED_DIMENSIONS}
        if weights:
            width = child.attribute("hidden_size", "hidden_dim")
            return next(iter(weights.values()))[0], _hidden_width(weights, child, width)
    return None


def _hidden_width(weights: Mapping[str, tuple[int, ...]], node: ModuleNode, width: object) -> int | None:
    """The width between up and down projection: the side of the down projection that is not the model's."""
    stated = node.attribute("intermediate_dim", "intermediate_size", "moe_intermediate_size", "expert_dim")
    if isinstance(stated, int):
        return stated
    down = next((shape for name, shape in weights.items() if "down" in name or "w2" in name), None)
    if down is None or not isinstance(width, int):
        return None
    sides = [side for side in down[1:] if side != width]
    return sides[0] if len(sides) == 1 else None


def _experts(count: int, hidden: int | None, node: ModuleNode, config: Mapping[str, Any]) -> Experts:
    return Experts(
        count=count,
        per_token=_from_modules(node) or _first_number(config, _PER_TOKEN),
        hidden_width=hidden,
        shared=_first_number(config, _SHARED),
    )


def _from_modules(node: ModuleNode) -> int | None:
    for _, child in node.walk():
        value = child.attribute("top_k", "num_experts_per_tok")
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None


def _first_number(config: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    return next((value for name in names if isinstance(value := config.get(name), int)), None)
