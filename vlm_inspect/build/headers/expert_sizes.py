"""Experts that are held together as 3-D parameters: how many, and how wide one is."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from vlm_inspect.build.headers.leaf_kinds import Kind
from vlm_inspect.tree import INFERRED, Attribute, Shape

_UP = re.compile(r"^(gate_up_proj|gate_and_up_projs|w13|w1|w3|wi|up_proj|gate_proj|fc1)(_weight)?$")
_DOWN = re.compile(r"^(down_proj|w2|wo|fc2|down_projs)(_weight)?$")
_ROUTER = re.compile(r"^(gate|router|gating|wg)$")
_SIDES = 3
_MATRIX = 2


def is_router(name: str, siblings: Collection[str], shapes: Mapping[str, Shape]) -> bool:
    """Whether a module next to experts chooses between them: it makes no hidden width."""
    weight = shapes.get("weight")
    return (
        bool(_ROUTER.search(name)) and "experts" in siblings and weight is not None and len(weight) == _MATRIX
    )


def router(shapes: Mapping[str, Shape]) -> Kind:
    """A router: experts, and the model's width."""
    experts, width = shapes["weight"]
    return Kind(f"{INFERRED}Router", attributes=(("hidden_dim", width), ("num_experts", experts)))


def fused_sizes(shapes: Mapping[str, Shape]) -> tuple[tuple[str, Attribute], ...]:
    """Experts, the model's width and an expert's, of a module with both projections; empty without."""
    up = next((shape for name, shape in shapes.items() if _UP.search(name) and len(shape) == _SIDES), None)
    down = next(
        (shape for name, shape in shapes.items() if _DOWN.search(name) and len(shape) == _SIDES), None
    )
    if up is None or down is None or up[0] != down[0]:
        return ()
    counted: dict[str, Attribute] = {"num_experts": up[0]}
    widths = {
        (a, b) for a, b in (down[1:], down[:0:-1]) if sorted(up[1:]) in (sorted((a, b)), sorted((a, 2 * b)))
    }
    if len(widths) == 1:
        (width, hidden), *_ = widths
        counted |= {"hidden_dim": width, "intermediate_dim": hidden}
    return tuple(sorted(counted.items()))
