"""The modules of a layer that mix tokens (attention and its replacements), and their mechanism."""

from __future__ import annotations

import re

from vlm_inspect.anatomy.layers.projections import attention_projections
from vlm_inspect.anatomy.module_kinds import (
    breadth_first,
    convolution_channels,
    is_attention,
    is_mixer,
    is_norm,
)
from vlm_inspect.core.architecture import Mechanism
from vlm_inspect.core.module_tree import ModuleNode, is_below

_LINEAR_ATTENTION = re.compile(r"(Linear_?Attn|LinearAttention|DeltaNet|DeltaAttention|Lightning)")
_STATE_SPACE = re.compile(r"(Mamba|SSM|StateSpace)")
_MECHANISM_CLASSES: tuple[tuple[re.Pattern[str], Mechanism], ...] = (
    (_STATE_SPACE, "state space"),
    (re.compile(r"(ShortConv|Convolution|ConvModule|ConvMixer)"), "convolution"),
    (re.compile(r"(Recurrent|RgLru|RNN|LSTM|Rwkv)", re.IGNORECASE), "recurrence"),
)


def find_mixers(layer: ModuleNode) -> list[tuple[str, ModuleNode]]:
    """The outermost attentions and mixers of a layer with their paths, attentions first."""
    found: list[tuple[str, ModuleNode]] = []
    for path, child in breadth_first(layer):
        if (is_attention(child) or is_mixer(child)) and not any(is_below(path, at) for at, _ in found):
            found.append((path, child))
    unwrapped = (_unwrap(path, child) for path, child in found)
    return sorted(unwrapped, key=lambda pair: not is_attention(pair[1]))


def mechanism(node: ModuleNode) -> Mechanism:
    """The mechanism of a mixer, by its parameters, then its attributes, then its class name."""
    # a decay `A_log` with a skip `D` is a state space, without it linear attention; `time_decay` is RWKV
    if node.shape("A_log") is not None:
        return "state space" if node.shape("D") is not None else "linear attention"
    if node.shape("time_decay") is not None:
        return "recurrence"
    name = node.class_name
    projections = attention_projections(node)
    if projections.expanded is not None:
        return "attention"
    if _LINEAR_ATTENTION.search(name) or str(node.attribute("layer_type")).startswith("linear"):
        return "state space" if _STATE_SPACE.search(name) else "linear attention"
    if is_attention(node):
        return "attention"
    default: Mechanism = "convolution" if convolution_length(node) and not projections.any else "attention"
    return next((result for pattern, result in _MECHANISM_CLASSES if pattern.search(name)), default)


def convolution_length(node: ModuleNode) -> int | None:
    """The kernel size of the first convolution inside a mixer that spans several tokens."""
    for _, child in breadth_first(node):
        kernel = child.attribute("kernel_size")
        if convolution_channels(child) and isinstance(kernel, tuple) and max(kernel, default=1) > 1:
            return kernel[0]
    return None


def _unwrap(path: str, node: ModuleNode) -> tuple[str, ModuleNode]:
    """The attention inside a sublayer of norm and attention that is itself named attention (T5)."""
    inner = next((pair for pair in breadth_first(node, path) if is_attention(pair[1])), None)
    has_norm = any(is_norm(child) for _, child in node.children)
    return inner if inner and has_norm and attention_projections(inner[1]).output else (path, node)
