"""Modules that only hold parts together: a tower with its projector, or towers of several modalities."""

from __future__ import annotations

from vlm_inspect.anatomy.leaves import contains_attention, is_list
from vlm_inspect.anatomy.roles import field_names as names
from vlm_inspect.anatomy.roles.inputs import pixel_convolution, sound_convolution
from vlm_inspect.tree import ModuleNode


def is_wrapper(node: ModuleNode) -> bool:
    """Whether a module holds both a tower and its projector, or such modules (Phi-3-vision's, Phi-4's).

    A tower is told by what it takes in: a transformer whose patches are embedded beside it (Llama 4's)
    is none, and its module a tower as a whole.
    """
    children = [(name, child) for name, child in node.children if child.total]
    if any(name.isdigit() for name, _ in children):
        return False
    if any(is_wrapper(child) for _, child in children):
        return True
    taken_in = {name: taken for name, child in children if (taken := _takes_in(name, child))}
    projectors = [name for name, _ in children if names.PROJECTOR.search(name) and name not in taken_in]
    return bool(taken_in and projectors) or len(set(taken_in.values())) > 1


def _takes_in(name: str, node: ModuleNode) -> str | None:
    """What a tower takes in; None for what is no tower."""
    if is_list(node) or names.PROJECTOR.search(name) or not contains_attention(node):
        return None
    if pixel_convolution(node, name):
        return "pixels"
    return "sound" if sound_convolution(node, name) else None
