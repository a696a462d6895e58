"""Reads one attention: heads, kind, projections, norms, positions, windows."""

from __future__ import annotations

import re
from collections.abc import Iterator

from vlm_inspect.anatomy.layers.norms import read_norm
from vlm_inspect.anatomy.layers.positions import (
    attention_chunk,
    image_window,
    read_positions,
    read_rotary,
    sliding_window,
)
from vlm_inspect.anatomy.layers.projections import Projections, attention_projections, outside_indexers
from vlm_inspect.anatomy.layers.stacks import LayerContext
from vlm_inspect.anatomy.layers.token_mixers import convolution_length, mechanism
from vlm_inspect.anatomy.module_kinds import (
    as_int,
    breadth_first,
    embedding_sizes,
    first_attribute,
    first_int,
    is_attention,
    is_norm,
)
from vlm_inspect.core.architecture import Attention, AttentionFeature, AttentionKind, Latent, Mechanism, Norm
from vlm_inspect.core.module_tree import ModuleNode, last_name

_HEADS = ("num_heads", "num_attention_heads", "n_heads", "heads", "num_v_heads")
_HEAD_WIDTHS = (
    "qk_head_dim",
    "head_dim",
    "attention_head_size",
    "head_size",
    "dim_head",
    "head_v_dim",
    "key_value_proj_dim",
)
_KEY_HEADS = ("num_k_heads", "num_key_heads", "n_k_heads")
_KEY_VALUE_HEADS = ("num_key_value_heads", "num_kv_heads")
_HEADS_KEYS = ("num_attention_heads", "num_heads", "n_head", "encoder_attention_heads")
_STATE_WIDTHS = ("ssm_state_size", "state_size", "d_state")
_CROSS = re.compile(r"(cross|enc_?dec|encoder_attn|encoder_decoder|x_attn|merged)", re.IGNORECASE)
_QUERY_KEY_NORM = re.compile(r"^(q|k|qk|query|key)_?(head_)?(layer_?)?(norm|ln)s?$|^(norm|ln)_(q|k)$")
_GATE = re.compile(r"^(g_proj|gate_proj|output_gate|g_b_proj|z_proj|in_proj_z|in_proj_qkvz)$")
_SINKS = re.compile(r"^sinks?(_proj|_logits|_bias)?$")
_NO_ANGLES = "its code takes angles; no module that makes them was seen"
_NO_TRACE = "positions without parameters leave no trace in headers"


def read_attention(path: str, node: ModuleNode, layer: ModuleNode, context: LayerContext) -> Attention:
    """An attention, or the mixer in its place; modules are trusted before the configuration."""
    kind = mechanism(node)
    if kind != "attention":
        return _read_mixer(node, kind)
    projections = attention_projections(node)
    latent = _latent(node, projections)
    heads, head_width = _heads(node, projections, context)
    key_value_heads = None if latent else _key_value_heads(node, projections, heads, head_width, context)
    cross = _is_cross(path, node, projections)
    window = sliding_window(node, context)
    sliding = window is not None
    # a merged attention is self-attention and cross-attention in one
    no_positions = cross and "merged" not in node.class_name.lower()
    positions, embedding = read_positions(node, context, cross=no_positions, sliding=sliding)
    rotary = None
    if embedding is not None:
        rotary = read_rotary(embedding, node, context, head_width, latent, sliding=sliding)
    unknown = {} if projections.any else {"bias": "its projections have names that are not known"}
    if positions is None:
        unknown["positions"] = _NO_ANGLES if context.built or node.forward_order else _NO_TRACE
    return Attention(
        class_name=node.class_name,
        kind="latent" if latent else _kind(heads, key_value_heads),
        heads=heads,
        key_value_heads=key_value_heads,
        head_width=head_width,
        cross=cross,
        sliding_window=window,
        chunk=attention_chunk(node, context),
        window=image_window(layer, node, context),
        latent=latent,
        qk_norm=tuple(_query_key_norms(node)),
        bias=projections.with_bias,
        positions=positions,
        rotary=rotary,
        features=tuple(_features(node, layer, projections)),
        convolution=convolution_length(node),
        unknown=unknown,
    )


def _read_mixer(node: ModuleNode, kind: Mechanism) -> Attention:
    heads, key_heads = as_int(node.attribute(*_HEADS)), as_int(node.attribute(*_KEY_HEADS))
    return Attention(
        class_name=node.class_name,
        mechanism=kind,
        heads=heads,
        key_heads=key_heads if key_heads != heads else None,
        head_width=as_int(node.attribute(*_HEAD_WIDTHS)),
        state_width=as_int(node.attribute(*_STATE_WIDTHS)),
        convolution=convolution_length(node),
        features=("output gate",) if any(_GATE.search(name) for name, _ in node.children) else (),
    )


def _heads(node: ModuleNode, projections: Projections, context: LayerContext) -> tuple[int | None, int | None]:
    """The number of heads and the width of one: by attributes, else by the input of the output projection.

    The output of the query projection comes last because it may include a gate.
    """
    modules = [node, *(child for _, child in breadth_first(node) if is_attention(child))]
    heads = first_attribute(modules, _HEADS) or as_int(node.attribute("groups"))  # of channels
    width = first_attribute(modules, _HEAD_WIDTHS)
    query_width = projections.query.out_features if projections.query else None
    total = (projections.output.in_features if projections.output else None) or query_width
    if heads is None and width and total:
        heads = total // width
    heads = heads or first_int(context.config, _HEADS_KEYS)
    if width is None and heads and total:
        width = (query_width or total) // heads
    return heads, width


def _key_value_heads(
    node: ModuleNode, found: Projections, heads: int | None, head_width: int | None, context: LayerContext
) -> int | None:
    if found.key and head_width:
        return found.key.out_features // head_width
    if found.key_value and head_width:
        return found.key_value.out_features // head_width // 2
    if found.fused and head_width and heads:
        return (found.fused.out_features // head_width - heads) // 2
    return as_int(node.attribute(*_KEY_VALUE_HEADS)) or first_int(context.config, _KEY_VALUE_HEADS)


def _kind(heads: int | None, key_value_heads: int | None) -> AttentionKind | None:
    if not heads or not key_value_heads:
        return None
    if heads == key_value_heads:
        return "multi-head"
    return "multi-query" if key_value_heads == 1 else "grouped-query"


def _latent(node: ModuleNode, projections: Projections) -> Latent | None:
    """The ranks of a latent attention, and the rotary part of its heads."""
    if projections.expanded is None:
        return None
    rank = projections.expanded.in_features
    rotary = as_int(node.attribute("qk_rope_head_dim"))
    if rotary is None and projections.compressed is not None:
        rotary = projections.compressed.out_features - rank
    heads = as_int(node.attribute(*_HEADS))
    value = as_int(node.attribute("v_head_dim"))
    if value is None and heads and projections.output:
        value = projections.output.in_features // heads
    has_query_rank = any(name.startswith("q_b") for name, _ in node.children)
    query_rank = projections.query.in_features if projections.query and has_query_rank else None
    return Latent(rank, query_rank, rotary, value)


def _is_cross(path: str, node: ModuleNode, projections: Projections) -> bool:
    """By a flag, a name, or a key projection with another input width than the query projection."""
    is_flagged = any(module.attribute("is_cross_attention") is True for _, module in node.walk())
    if is_flagged or _CROSS.search(f"{path} {node.class_name}"):
        return True
    query, key = projections.query, projections.key
    return bool(query and key and query.in_features != key.in_features and not projections.expanded)


def _query_key_norms(node: ModuleNode) -> Iterator[Norm]:
    """The attention's own norms and those of an attention inside it, but not an indexer's."""
    for name, child in node.children:
        if is_norm(child) and _QUERY_KEY_NORM.search(name):
            yield read_norm(name, child)
        elif is_attention(child):
            yield from _query_key_norms(child)


def _features(node: ModuleNode, layer: ModuleNode, projections: Projections) -> Iterator[AttentionFeature]:
    names = [last_name(path) for path, _ in (*outside_indexers(node), *node.parameters)]
    if any(map(_SINKS.search, names)):
        yield "sinks"
    query, output = projections.query, projections.output
    # the query projection of a gated attention is twice as wide: it includes the gate
    is_doubled = query and output and query.out_features == 2 * output.in_features
    if any(map(_GATE.search, names)) or (is_doubled and not projections.expanded):
        yield "output gate"
    if any("Indexer" in child.class_name for _, child in node.children):
        yield "indexer"
    if any("relative" in name and embedding_sizes(child) for name, child in node.children):
        yield "position table"
    if node.attribute("is_kv_shared_layer") is True:
        yield "shared key-values"
    shift = layer.attribute("shift_size") or node.attribute("shift_size")
    if shift and (not isinstance(shift, tuple) or any(shift)):
        yield "shifted windows"
