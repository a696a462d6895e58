"""One attention module as cell text: heads, windows, norms, positions."""

from __future__ import annotations

from collections.abc import Iterator

from vlm_inspect.core.architecture import Attention, Latent, Rotary
from vlm_inspect.render.cells import Cell, concat, join, text
from vlm_inspect.render.text.steps import norm_cell
from vlm_inspect.render.text.values import missing, number_text, plural

_ALL_PROJECTIONS = 4
_POSITIONS = {"relative": "relative position bias", "alibi": "ALiBi", "none": "none in attention"}


def heads(attention: Attention) -> str:
    """`32 heads of 128, 8 key-value heads`; empty if nothing is known."""
    counts = []
    if attention.heads:
        width = f" of {attention.head_width}" if attention.head_width else ""
        counts.append(plural(attention.heads, "value head" if attention.key_heads else "head") + width)
    if attention.key_heads:
        counts.append(plural(attention.key_heads, "key head"))
    if attention.key_value_heads and attention.key_value_heads != attention.heads:
        counts.append(plural(attention.key_value_heads, "key-value head"))
    return ", ".join(counts)


def attention_details(attention: Attention) -> Cell:
    """`grouped-query, sliding window of 1024, 8 heads of 256, 4 key-value heads, q/k norm …`."""
    norms = [_query_key_norm(attention)] if attention.qk_norm else []
    return join([*map(text, _structure(attention)), *norms, *map(text, _extras(attention))], ", ")


def positions_cell(attention: Attention) -> Cell | None:
    """`rotary (yarn, factor 32), theta 150000`; None if positions are not applicable."""
    if attention.rotary is not None:
        return text(_rotary(attention.rotary, attention.head_width))
    if attention.positions is None:
        return missing("positions", attention.unknown) if "positions" in attention.unknown else None
    return text(_POSITIONS.get(attention.positions, attention.positions))


def _structure(attention: Attention) -> Iterator[str]:
    if attention.mechanism == "convolution" and attention.convolution:
        yield f"convolution (kernel size {attention.convolution})"
    elif attention.mechanism != "attention":
        yield attention.mechanism
    if attention.kind:
        yield attention.kind
    if attention.cross:
        yield "cross-attention"
    if attention.sliding_window:
        yield f"sliding window of {attention.sliding_window}"
    if attention.chunk:
        yield f"chunks of {attention.chunk}"
    if attention.window:
        yield f"windows of {attention.window} x {attention.window} patches"
    if heads(attention):
        yield heads(attention)
    if attention.latent is not None:
        yield from _latent(attention.latent, attention.head_width)


def _latent(latent: Latent, head_width: int | None) -> Iterator[str]:
    yield f"key-value rank {latent.key_value_rank}"
    if latent.query_rank:
        yield f"query rank {latent.query_rank}"
    if latent.value_width and latent.value_width != head_width:
        yield f"value heads of {latent.value_width}"


def _query_key_norm(attention: Attention) -> Cell:
    """`` q/k norm `Qwen3RMSNorm` per head ``."""
    norm, scope = attention.qk_norm[0], ""
    if norm.width is not None and attention.head_width is not None:
        scope = " per head" if norm.width == attention.head_width else " over all heads"
    has_one_side = len(attention.qk_norm) == 1 and not norm.name.startswith("qk")
    only = f" on {norm.name} only" if has_one_side else ""
    return concat(text("q/k norm "), norm_cell(norm), text(scope + only))


def _extras(attention: Attention) -> Iterator[str]:
    if len(attention.bias) == _ALL_PROJECTIONS:
        yield "bias"
    elif attention.bias:
        *first, last = attention.bias
        yield f"bias on {', '.join(first)} and {last}" if first else f"bias on {last}"
    yield from attention.features
    if attention.state_width:
        yield f"state size {attention.state_width}"
    if attention.convolution and attention.mechanism != "convolution":
        yield f"convolution (kernel size {attention.convolution})"


def _rotary(rotary: Rotary, head_width: int | None) -> str:
    parts = ["2D rotary" if rotary.kind == "axial" else "rotary"]
    if rotary.kind not in {"axial", "default"}:
        factor = f", factor {number_text(rotary.factor)}" if rotary.factor else ""
        parts[0] += f" ({rotary.kind}{factor})"
    if rotary.width and head_width and rotary.width != head_width:
        parts.append(f"{rotary.width} of {head_width} channels")
    if rotary.sections:
        parts.append(f"sections of {', '.join(map(str, rotary.sections))}")
    if rotary.theta:
        parts.append(f"theta {number_text(rotary.theta)}")
    return ", ".join(parts)
