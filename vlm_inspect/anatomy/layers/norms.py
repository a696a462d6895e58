"""Norms, and where they stand: before attention and MLP, after them, or both."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from vlm_inspect.anatomy.leaves import (
    breadth_first,
    contains_attention,
    is_attention,
    is_named_mixer,
    is_norm,
    linear_widths,
    number,
)
from vlm_inspect.core.architecture import Norm, Placement
from vlm_inspect.core.module_tree import ModuleNode, join

_FIRST = re.compile(r"^(pre_norm|norm_pre)$")
_BOTH_SIDES = frozenset({"pre_feedforward_layernorm", "post_feedforward_layernorm"})
_MIXER, _MLP = "mixer", "mlp"
_BETWEEN_BOTH = 2

Use = tuple[str, str]
"""What is used (`norm`, `mixer` or `mlp`), and the path of it."""


def read_norm(name: str, node: ModuleNode) -> Norm:
    """A norm: its width from its weight, its eps from whatever the class calls it."""
    eps = number(node.attribute("eps", "variance_epsilon", "epsilon", "norm_eps"))
    width = next((shape[0] for _, shape in node.parameters if shape), None)
    return Norm(node.class_name, width, eps, name)


def layer_norms(layer: ModuleNode) -> Iterator[Norm]:
    """The norms that a layer itself holds; where it holds none, those in its parts (BERT, T5)."""
    own = [(name, child) for name, child in layer.children if is_norm(child)]
    if not own:
        used = dict.fromkeys(path for kind, path in _uses(layer, "", inside=False) if kind == "norm")
        below = dict(breadth_first(layer))
        own = [(path, below[path]) for path in used]
    for name, child in own:
        yield read_norm(name, child)


def placement(layer: ModuleNode) -> tuple[Placement | None, bool]:
    """Where a layer's norms stand, and whether attention and MLP read one norm side by side.

    Told by the order in which the layer's own code uses them, else by names that leave no doubt. None
    where it has no norms, or where neither tells.
    """
    kinds = [kind for kind, _ in _uses(layer, "", inside=False)]
    parts = [index for index, kind in enumerate(kinds) if kind != "norm"]
    stated = layer.attribute("use_parallel_residual", "parallel_attn") is True
    if {name for name, _ in layer.children} >= _BOTH_SIDES:
        return "both", stated
    if not parts or "norm" not in kinds or not _has_order(layer):
        return None, stated
    leads, ends = kinds[0] == "norm", kinds[-1] == "norm"
    between = kinds[parts[0] : parts[-1]].count("norm")
    side_by_side = stated or (_MIXER, _MLP) in pairwise(kinds)
    if leads and ends:
        return ("both" if len(parts) == 1 or between >= _BETWEEN_BOTH else None), stated
    if leads:
        return "before", side_by_side
    return ("after" if ends else None), stated


def _has_order(node: ModuleNode) -> bool:
    """Whether the order of use is known: by the class's own code, or because containers run in order."""
    return bool(node.forward_order) or len(node.children) == 1 or _is_list(node)


def _uses(node: ModuleNode, path: str, *, inside: bool) -> Iterator[Use]:
    """Norms, mixers and MLPs in the order of use; neighbours of one kind, but for norms, are one."""
    told = ""
    for kind, at in _steps(node, path, inside=inside):
        if kind == "norm" or kind != told:
            yield kind, at
        told = kind


def _steps(node: ModuleNode, path: str, *, inside: bool) -> Iterator[Use]:
    """`inside` an attention that wraps another, all that is no norm belongs to it."""
    used = [name for name in node.forward_order if node.child(name)]
    for name in dict.fromkeys(used or (name for name, _ in node.children)):
        child = node.child(name)
        at = join(path, name)
        if child is None or not (child.total or is_norm(child)):
            continue
        if is_norm(child):
            yield "norm", at
        elif is_attention(child) or is_named_mixer(child):
            yield from _inside_mixer(child, at)
        elif not child.children or linear_widths(child):
            if any(len(shape) > 1 for _, shape in child.parameters):  # a vector only scales
                yield (_MIXER if inside else _MLP), at
        else:
            yield from _steps(child, at, inside=inside)


def _inside_mixer(node: ModuleNode, path: str) -> Iterator[Use]:
    """A mixer is one step with norms of its own inside.

    But for the layer's: those beside the attention that it wraps (BERT's `output.LayerNorm`), and one that
    is called the norm before it.
    """
    if contains_attention(node):
        yield from _steps(node, path, inside=True)
        return
    for name, child in node.children:
        if is_norm(child) and _FIRST.search(name):
            yield "norm", join(path, name)
    yield _MIXER, path


def _is_list(node: ModuleNode) -> bool:
    return bool(node.children) and all(name.isdigit() for name, _ in node.children)
