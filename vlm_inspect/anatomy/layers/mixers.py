"""What mixes the tokens of a layer: which modules do, and by what mechanism."""

from __future__ import annotations

import re
from collections.abc import Iterator

from vlm_inspect.anatomy.layers.projections import projections
from vlm_inspect.anatomy.leaves import breadth_first, convolution_channels, is_attention, is_mixer, is_norm
from vlm_inspect.core.architecture import Mechanism
from vlm_inspect.core.module_tree import ModuleNode, is_below

_LINEAR = re.compile(r"(Linear_?Attn|LinearAttention|DeltaNet|DeltaAttention|Lightning)")
_STATE = re.compile(r"(Mamba|SSM|StateSpace)")
_CONVOLUTION = re.compile(r"(ShortConv|Convolution|ConvModule|ConvMixer)")
_RECURRENCE = re.compile(r"(Recurrent|Rglru|RgLru|RNN|LSTM|Rwkv|RWKV)", re.IGNORECASE)


def mixers(layer: ModuleNode) -> list[tuple[str, ModuleNode]]:
    """The attentions of a layer and what works in their place, outermost ones, attention before the rest."""
    found: list[tuple[str, ModuleNode]] = []
    for path, child in breadth_first(layer):
        if (is_attention(child) or is_mixer(child)) and not any(is_below(path, at) for at, _ in found):
            found.append((path, child))
    found = [(at, node) for path, child in found for at, node in _unwrapped(path, child)]
    return sorted(found, key=lambda pair: not is_attention(pair[1]))


def mechanism(node: ModuleNode) -> Mechanism:
    """By what it holds where that tells, then by what it says of itself, then by its class."""
    held, name = _held(node), node.class_name
    if held is not None:
        return held
    if projections(node).expanded is not None:
        return "attention"
    if _LINEAR.search(name) or str(node.attribute("layer_type")).startswith("linear"):
        return "state space" if _STATE.search(name) else "linear attention"
    if is_attention(node):
        return "attention"
    kinds: tuple[tuple[re.Pattern[str], Mechanism], ...] = (
        (_STATE, "state space"),
        (_CONVOLUTION, "convolution"),
        (_RECURRENCE, "recurrence"),
    )
    told = next((kind for pattern, kind in kinds if pattern.search(name)), None)
    return told or ("convolution" if convolution_length(node) and not projections(node).any else "attention")


def _held(node: ModuleNode) -> Mechanism | None:
    """A state's decay (`A_log`), with what passes it by (`D`) or without; RWKV's decay in time."""
    if node.shape("A_log") is not None:
        return "state space" if node.shape("D") is not None else "linear attention"
    return "recurrence" if node.shape("time_decay") is not None else None


def convolution_length(node: ModuleNode) -> int | None:
    """Tokens that the convolution inside a mixer spans; None where it has none."""
    for _, child in breadth_first(node):
        kernel = child.attribute("kernel_size")
        if convolution_channels(child) and isinstance(kernel, tuple) and max(kernel, default=1) > 1:
            return kernel[0]
    return None


def _unwrapped(path: str, node: ModuleNode) -> Iterator[tuple[str, ModuleNode]]:
    """The attention itself where a sublayer of norm and attention is named like one (T5)."""
    inner = [(at, child) for at, child in breadth_first(node, path) if is_attention(child)]
    norms = any(is_norm(child) for _, child in node.children)
    if inner and norms and projections(inner[0][1]).output is not None:
        yield inner[0]
    else:
        yield path, node
