"""Norms, and their placement: before attention and MLP, after them, or both."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from vlm_inspect.anatomy import module_kinds
from vlm_inspect.anatomy.module_kinds import is_norm
from vlm_inspect.core.architecture import Norm, Placement
from vlm_inspect.core.module_tree import ModuleNode, join

_BOTH_SIDES = frozenset({"pre_feedforward_layernorm", "post_feedforward_layernorm"})
_NORM, _MIXER, _MLP = "norm", "mixer", "mlp"

Use = tuple[str, str]
"""What is used (`norm`, `mixer` or `mlp`), and its path."""


def read_norm(name: str, node: ModuleNode) -> Norm:
    """A norm with its name in the layer, its width and its eps."""
    eps = module_kinds.as_float(node.attribute("eps", "variance_epsilon", "epsilon", "norm_eps"))
    width = next((shape[0] for _, shape in node.parameters if shape), None)
    return Norm(node.class_name, width, eps, name)


def layer_norms(layer: ModuleNode) -> tuple[Norm, ...]:
    """The norms that a layer holds itself, or else those in its sublayers (BERT, T5)."""
    norms = {name: child for name, child in layer.children if is_norm(child)}
    if not norms:
        below = dict(module_kinds.breadth_first(layer))
        norms = {path: below[path] for kind, path in _uses(layer) if kind == _NORM}
    return tuple(read_norm(name, norm) for name, norm in norms.items())


def norm_placement(layer: ModuleNode) -> tuple[Placement | None, bool]:
    """The placement of a layer's norms, and whether attention and MLP run in parallel on one norm.

    The order of use in the layer's code decides, or names that are unambiguous. None without norms or order.
    """
    kinds = [kind for kind, _ in _uses(layer)]
    parts = [index for index, kind in enumerate(kinds) if kind != _NORM]
    declared_parallel = layer.attribute("use_parallel_residual", "parallel_attn") is True
    if {name for name, _ in layer.children} >= _BOTH_SIDES:
        return "both", declared_parallel
    # containers run their children in order
    has_known_order = bool(layer.forward_order) or len(layer.children) == 1 or module_kinds.is_list(layer)
    if not parts or _NORM not in kinds or not has_known_order:
        return None, declared_parallel
    norm_first, norm_last = kinds[0] == _NORM, kinds[-1] == _NORM
    between = kinds[parts[0] : parts[-1]].count(_NORM)
    if norm_first and norm_last:
        return ("both" if len(parts) == 1 or between > 1 else None), declared_parallel
    if norm_first:
        return "before", declared_parallel or (_MIXER, _MLP) in pairwise(kinds)
    return ("after" if norm_last else None), declared_parallel


def _uses(layer: ModuleNode) -> Iterator[Use]:
    """Norms, mixers and MLPs in the order of use; adjacent uses of one mixer or MLP are merged."""
    previous = ""
    for kind, path in _steps(layer, "", in_mixer=False):
        if kind == _NORM or kind != previous:
            yield kind, path
        previous = kind


def _steps(node: ModuleNode, path: str, *, in_mixer: bool) -> Iterator[Use]:
    """The uses below a node; in a mixer, everything but norms counts as the mixer."""
    used = [name for name in node.forward_order if node.child(name)]
    for name in dict.fromkeys(used or (name for name, _ in node.children)):
        child = node.child(name)
        at = join(path, name)
        if child is None or not (child.total or is_norm(child)):
            continue
        if is_norm(child):
            yield _NORM, at
        elif module_kinds.is_attention(child) or module_kinds.is_named_mixer(child):
            yield from _mixer_steps(child, at)
        elif not child.children or module_kinds.linear_widths(child):
            if any(len(shape) > 1 for _, shape in child.parameters):  # a vector only scales
                yield (_MIXER if in_mixer else _MLP), at
        else:
            yield from _steps(child, at, in_mixer=in_mixer)


def _mixer_steps(node: ModuleNode, path: str) -> Iterator[Use]:
    """A mixer is one step, and its inner norms are its own.

    Two kinds are the layer's: norms next to the attention that it wraps (BERT's `output.LayerNorm`), and a
    norm named `pre_norm`.
    """
    if module_kinds.contains_attention(node):
        yield from _steps(node, path, in_mixer=True)
        return
    for name, child in node.children:
        if is_norm(child) and name in {"pre_norm", "norm_pre"}:
            yield _NORM, join(path, name)
    yield _MIXER, path
