"""One kind of layer as named facts."""

from __future__ import annotations

from collections.abc import Iterator

from vlm_inspect.architecture import Attention, Experts, Latent, Layer, Mlp, Rotary
from vlm_inspect.compare.known import (
    ATTENTION_FIELDS,
    EXPERT_FIELDS,
    LAYER_FIELDS,
    MLP_FIELDS,
    NORM_FIELDS,
    renamed,
)
from vlm_inspect.difference import Value

Named = Iterator[tuple[str, Value | None]]


def layer_facts(layer: Layer) -> Named:
    """Its attention, MLP and norms; of what mixes tokens beside its attention, the same again."""
    yield "layer class", layer.class_name
    if layer.attention is not None:
        yield from _attention(layer.attention)
    for prefix, further in _further(layer):
        yield from ((prefix + name, value) for name, value in _attention(further))
    if layer.mlp is not None:
        yield from _mlp(layer.mlp)
    if all(norm.class_name for norm in layer.norms):
        yield "norm", tuple(dict.fromkeys(norm.class_name or "" for norm in layer.norms))
    yield "norm eps", _one([norm.eps for norm in layer.norms if norm.eps is not None])
    yield "norms", tuple(norm.name for norm in layer.norms)
    yield "norm placement", layer.norm_placement
    yield "parallel", layer.parallel or None


def unknown_of_layer(layer: Layer, prefix: str) -> dict[str, str]:
    """What is unknown of it, by the names of the facts; how many parameters are active follows from those."""
    unknown = renamed({k: v for k, v in layer.unknown.items() if k != "active"}, LAYER_FIELDS, prefix)
    for norm in layer.norms:
        unknown |= renamed(norm.unknown, NORM_FIELDS, prefix, "norm ")
    if layer.attention is not None:
        unknown |= renamed(layer.attention.unknown, ATTENTION_FIELDS, prefix)
    for inner, further in _further(layer):
        unknown |= renamed(further.unknown, ATTENTION_FIELDS, prefix + inner)
    if layer.mlp is not None:
        unknown |= renamed(layer.mlp.unknown, MLP_FIELDS, prefix, "MLP ")
        for inner, experts in _groups(layer.mlp):
            unknown |= renamed(experts.unknown, EXPERT_FIELDS, prefix + inner)
    return unknown


def _further(layer: Layer) -> Iterator[tuple[str, Attention]]:
    for number, further in enumerate(layer.extra_attention, 2):
        yield f"mixer {number} ", further


def _groups(mlp: Mlp) -> Iterator[tuple[str, Experts]]:
    """The groups of experts: the only one without a prefix, several by whose tokens go through them."""
    for number, experts in enumerate(mlp.experts, 1):
        several = len(mlp.experts) > 1
        yield (f"{experts.modality or f'group {number}'} " if several else ""), experts


def _attention(attention: Attention) -> Named:
    yield "attention", attention.class_name
    yield "mechanism", attention.mechanism if attention.mechanism != "attention" else None
    yield "attention kind", attention.kind
    yield "heads", attention.heads
    yield "key-value heads", attention.key_value_heads
    yield "head width", attention.head_width
    yield "cross-attention", attention.cross or None
    yield "sliding window", attention.sliding_window
    yield "attention chunk", attention.chunk
    yield "attention window", attention.window
    if attention.latent is not None:
        yield from _latent(attention.latent)
    yield "q/k norm", tuple(dict.fromkeys(norm.class_name or "" for norm in attention.qk_norm))
    yield "q/k norm width", next((norm.width for norm in attention.qk_norm), None)
    yield "attention bias", attention.bias
    yield "attention positions", attention.positions
    if attention.rotary is not None:
        yield from _rotary(attention.rotary)
    yield "attention features", attention.features
    yield "state width", attention.state_width
    yield "convolution", attention.convolution


def _latent(latent: Latent) -> Named:
    yield "key-value rank", latent.key_value_rank
    yield "query rank", latent.query_rank
    yield "value width", latent.value_width


def _rotary(rotary: Rotary) -> Named:
    """Not the class that makes the angles: what it does is told, and where it lies is a path's business."""
    yield "rotary kind", rotary.kind
    yield "rotary width", rotary.width
    yield "rotary sections", rotary.sections
    yield "rotary base", rotary.theta
    yield "rotary factor", rotary.factor


def _mlp(mlp: Mlp) -> Named:
    yield "MLP", mlp.class_name
    yield "MLP hidden width", mlp.hidden_width
    yield "MLP gated", mlp.gated
    yield "activation", mlp.activation
    for prefix, experts in _groups(mlp):
        yield from ((prefix + name, value) for name, value in _experts(experts))


def _experts(experts: Experts) -> Named:
    yield "experts", experts.count
    yield "experts per token", experts.per_token
    yield "expert width", experts.hidden_width
    yield "shared experts", experts.shared
    yield "shared expert width", experts.shared_width
    yield "router", experts.router
    yield "router scoring", experts.scoring


def _one(values: list[float]) -> Value | None:
    """The value that all share; their text where they differ."""
    different = sorted(set(values))
    return different[0] if len(different) == 1 else " / ".join(map(repr, different)) or None
