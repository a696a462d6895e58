"""What is known of one attention, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vlm_inspect.core.architecture import Attention, Norm, Rotary
from vlm_inspect.render.cells import Cell, concat, join, text
from vlm_inspect.render.text.steps import norm_cell
from vlm_inspect.render.text.values import counted, missing

_ALL_PROJECTIONS = 4
_POSITIONS = {
    "relative": "bias by relative position",
    "alibi": "bias by distance (ALiBi)",
    "none": "none in attention",
}


def heads(attention: Attention) -> str:
    """`32 heads of 128, 8 key-value heads`; empty where nothing is known."""
    words = []
    if attention.heads:
        width = f" of {attention.head_width}" if attention.head_width else ""
        words.append(counted(attention.heads, "head") + width)
    if attention.key_value_heads and attention.key_value_heads != attention.heads:
        words.append(counted(attention.key_value_heads, "key-value head"))
    return ", ".join(words)


def attention_words(attention: Attention) -> Cell:
    """`grouped-query, sliding window of 1024, 8 heads of 256, 4 key-value heads, q/k norm …`."""
    told: list[Cell] = [text(word) for word in _words(attention)]
    if attention.qk_norm:
        told.append(_query_key_norm(attention))
    told += [text(word) for word in _extras(attention)]
    return join(told, ", ")


def positions_cell(attention: Attention) -> Cell | None:
    """`rotary (yarn by 32), base 150000`; None where the question does not arise."""
    if attention.rotary is not None:
        return text(_rotary(attention.rotary, attention.head_width))
    if attention.positions is None:
        reason = missing("positions", attention.unknown)
        return reason if "positions" in attention.unknown else None
    return text(_POSITIONS.get(attention.positions, attention.positions))


def _words(attention: Attention) -> Iterator[str]:
    if attention.mechanism == "convolution" and attention.convolution:
        yield f"convolution over {attention.convolution}"
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
    yield from _latent(attention)


def _latent(attention: Attention) -> Iterator[str]:
    latent = attention.latent
    if latent is None:
        return
    yield f"key-value rank {latent.key_value_rank}"
    if latent.query_rank:
        yield f"query rank {latent.query_rank}"
    if latent.value_width and latent.value_width != attention.head_width:
        yield f"values of {latent.value_width}"


def _query_key_norm(attention: Attention) -> Cell:
    """`` q/k norm `Qwen3RMSNorm` per head ``."""
    norm = attention.qk_norm[0]
    named = [each.name for each in attention.qk_norm]
    only = f" on {named[0]} alone" if len(named) == 1 and not named[0].startswith("qk") else ""
    return concat(text("q/k norm "), norm_cell(norm), text(_norm_width(norm, attention) + only))


def _norm_width(norm: Norm, attention: Attention) -> str:
    if norm.width is None or attention.head_width is None:
        return ""
    return " per head" if norm.width == attention.head_width else " over all heads"


def _extras(attention: Attention) -> Iterator[str]:
    if len(attention.bias) == _ALL_PROJECTIONS:
        yield "bias"
    elif attention.bias:
        yield f"bias on {_listed(attention.bias)}"
    yield from attention.features
    if attention.state_width:
        yield f"state of {attention.state_width}"
    if attention.convolution and attention.mechanism != "convolution":
        yield f"convolution over {attention.convolution}"


def _rotary(rotary: Rotary, head_width: int | None) -> str:
    words = ["rotary by row and column" if rotary.kind == "axial" else "rotary"]
    if rotary.kind not in {"axial", "default"}:
        by = f" by {_plain(rotary.factor)}" if rotary.factor else ""
        words[0] += f" ({rotary.kind}{by})"
    if rotary.width and head_width and rotary.width != head_width:
        words.append(f"{rotary.width} of {head_width} channels")
    if rotary.sections:
        words.append(f"sections of {', '.join(map(str, rotary.sections))}")
    if rotary.theta:
        words.append(f"base {_plain(rotary.theta)}")
    return ", ".join(words)


def _listed(names: Sequence[str]) -> str:
    """`query, key and value`."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _plain(number: float) -> str:
    """`10000`, `1.5`."""
    return str(int(number)) if float(number).is_integer() else str(number)
