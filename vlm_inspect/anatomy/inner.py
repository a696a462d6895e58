"""Projectors that live inside a tower."""

from __future__ import annotations

import re
from collections.abc import Iterator

from vlm_inspect.anatomy.claims import Claim
from vlm_inspect.anatomy.leaves import contains_attention, linear_widths
from vlm_inspect.anatomy.stacks import find_stacks
from vlm_inspect.architecture import Role
from vlm_inspect.tree import ModuleNode, ModuleTree, join

_INNER_PROJECTOR = re.compile(r"(^|_)(merger|merger_list|adapter|projector|connector|aligner|resampler)$")


def inner_projectors(tree: ModuleTree, claim: Claim) -> Iterator[Claim]:
    """What is called a projector inside a tower.

    One with attention that keeps the tower's width only merges tokens between its layers (MiniCPM's
    `vit_merger`) and stays the tower's.
    """
    if claim.role not in {Role.VISION_ENCODER, Role.AUDIO_ENCODER}:
        return
    for tower in claim.paths:
        node = tree.find(tower)
        if node is not None:
            yield from _inside(node, tower)


def _inside(node: ModuleNode, tower: str) -> Iterator[Claim]:
    width = _tower_width(node, tower)
    stacks = {path for path, _ in find_stacks(node, tower)}
    pending = [(join(tower, name), child) for name, child in node.children]
    while pending:
        path, child = pending.pop(0)
        if path in stacks or not child.total:
            continue
        name = path.rpartition(".")[2]
        stays = contains_attention(child) and _output_width(child) == width
        if _INNER_PROJECTOR.search(name) and not stays:
            yield Claim(Role.PROJECTOR, (path,), "name", f"the name {name!r} inside {tower}")
        else:
            pending += [(join(path, key), below) for key, below in child.children]


def _tower_width(node: ModuleNode, path: str) -> int | None:
    """The width of a tower's stream: what its last layer's last projection writes."""
    stacks = list(find_stacks(node, path))
    return _output_width(stacks[-1][1]) if stacks else None


def _output_width(node: ModuleNode) -> int | None:
    widths = [linear_widths(child) for _, child in node.walk()]
    return next((pair[1] for pair in reversed(widths) if pair), None)
