"""One attention, read into its typed parts."""

from __future__ import annotations

import re
from collections.abc import Iterator

from vlm_inspect.anatomy.layers.mixers import convolution_length, mechanism
from vlm_inspect.anatomy.layers.norms import read_norm
from vlm_inspect.anatomy.layers.positions import (
    chunk,
    image_window,
    read_positions,
    read_rotary,
    sliding_window,
)
from vlm_inspect.anatomy.layers.projections import Projections, projections
from vlm_inspect.anatomy.layers.stacks import Surroundings
from vlm_inspect.anatomy.leaves import (
    breadth_first,
    embedding_sizes,
    first_whole,
    is_attention,
    is_norm,
    whole,
)
from vlm_inspect.core.architecture import Attention, AttentionFeature, AttentionKind, Latent, Mechanism, Norm
from vlm_inspect.core.module_tree import ModuleNode

_HEADS = ("num_heads", "num_attention_heads", "n_heads", "heads", "num_v_heads")
_CHANNEL_GROUPS = "groups"
_HEAD_WIDTHS = (
    "qk_head_dim",
    "head_dim",
    "attention_head_size",
    "head_size",
    "dim_head",
    "head_v_dim",
    "key_value_proj_dim",
)
_SHARED_HEADS = ("num_key_value_heads", "num_kv_heads")
_STATED_HEADS = ("num_attention_heads", "num_heads", "n_head", "encoder_attention_heads")
_STATES = ("ssm_state_size", "state_size", "d_state")
_CROSS = re.compile(r"(cross|enc_?dec|encoder_attn|encoder_decoder|x_attn|merged)", re.IGNORECASE)
_MERGED = re.compile(r"merged", re.IGNORECASE)
_QUERY_KEY_NORM = re.compile(r"^(q|k|qk|query|key)_?(head_)?(layer_?)?(norm|ln)s?$|^(norm|ln)_(q|k)$")
_GATE = re.compile(r"^(g_proj|gate_proj|output_gate|g_b_proj|z_proj|in_proj_z|in_proj_qkvz)$")
_SINKS = re.compile(r"^sinks?(_proj|_logits|_bias)?$")
_POSITION_TABLE = re.compile(r"relative")
_BOTH_HALVES = 2
_NO_PROJECTIONS = "its projections have names that are not known"
_NO_ANGLES = (
    "its code turns queries and keys where it is given angles, and no module was seen that makes them"
)


def read_attention(path: str, node: ModuleNode, layer: ModuleNode, around: Surroundings) -> Attention:
    """An attention, or what stands in its place, by what it holds first and its configuration last."""
    how = mechanism(node)
    if how != "attention":
        return _other_mixer(node, how)
    found = projections(node)
    latent = _latent(node, found)
    heads, head_width = _heads(node, found, around)
    shared = None if latent else _shared_heads(node, found, heads, head_width, around)
    cross = _is_cross(path, node, found)
    window = sliding_window(node, around)
    merged = bool(_MERGED.search(node.class_name))
    positions, module = read_positions(node, around, cross=cross and not merged, sliding=window is not None)
    rotary = positions == "rotary"
    unknown = {} if found.any else {"bias": _NO_PROJECTIONS}
    return Attention(
        class_name=node.class_name,
        kind="latent" if latent else _kind(heads, shared),
        heads=heads,
        key_value_heads=shared,
        head_width=head_width,
        cross=cross,
        sliding_window=window,
        chunk=chunk(node, around),
        window=image_window(layer, node, around),
        latent=latent,
        qk_norm=tuple(_query_key_norms(node)),
        bias=found.biased,
        positions=positions,
        rotary=read_rotary(module, node, around, head_width, latent, sliding=window is not None)
        if rotary
        else None,
        features=tuple(_features(node, layer, found)),
        convolution=convolution_length(node),
        unknown=unknown if positions is not None else {**unknown, "positions": _NO_ANGLES},
    )


def _other_mixer(node: ModuleNode, how: Mechanism) -> Attention:
    """A linear attention, a state space, a convolution, a recurrence: heads only where it says so."""
    return Attention(
        class_name=node.class_name,
        mechanism=how,
        heads=whole(node.attribute(*_HEADS)),
        head_width=whole(node.attribute(*_HEAD_WIDTHS)),
        state_width=whole(node.attribute(*_STATES)),
        convolution=convolution_length(node),
        features=("output gate",) if any(_GATE.search(name) for name, _ in node.children) else (),
    )


def _heads(node: ModuleNode, found: Projections, around: Surroundings) -> tuple[int | None, int | None]:
    """Heads and the width of one: what the module says, else what its output projection takes in.

    Not what its query projection makes: that may hold a gate besides.
    """
    holders = [node, *(child for _, child in breadth_first(node) if is_attention(child))]
    heads = next((count for each in holders if (count := whole(each.attribute(*_HEADS)))), None)
    heads = heads or whole(node.attribute(_CHANNEL_GROUPS))
    width = next((count for each in holders if (count := whole(each.attribute(*_HEAD_WIDTHS)))), None)
    across = found.output.given if found.output else None
    across = across or (found.query.made if found.query else None)
    if heads is None and width and across:
        heads = across // width
    heads = heads or first_whole(around.config, _STATED_HEADS)
    if width is None and heads:
        made = found.query.made if found.query else across
        width = made // heads if made else None
    return heads, width


def _shared_heads(
    node: ModuleNode, found: Projections, heads: int | None, width: int | None, around: Surroundings
) -> int | None:
    """Key-value heads, from what is projected to keys."""
    stated = whole(node.attribute(*_SHARED_HEADS))
    if found.key and width:
        return found.key.made // width
    if found.key_value and width:
        return found.key_value.made // width // _BOTH_HALVES
    if found.fused and width and heads:
        return (found.fused.made // width - heads) // _BOTH_HALVES
    return stated or first_whole(around.config, _SHARED_HEADS)


def _kind(heads: int | None, key_value_heads: int | None) -> AttentionKind | None:
    if not heads or not key_value_heads:
        return None
    if heads == key_value_heads:
        return "multi-head"
    return "multi-query" if key_value_heads == 1 else "grouped-query"


def _latent(node: ModuleNode, found: Projections) -> Latent | None:
    """What keys and values are compressed to, and the part of a head that is turned and is not."""
    if found.expanded is None:
        return None
    rank = found.expanded.given
    turned = whole(node.attribute("qk_rope_head_dim"))
    if turned is None and found.compressed is not None:
        turned = found.compressed.made - rank
    heads = whole(node.attribute(*_HEADS))
    value = whole(node.attribute("v_head_dim"))
    if value is None and heads and found.output:
        value = found.output.given // heads
    compressed = any(name.startswith("q_b") for name, _ in node.children)
    return Latent(rank, found.query.given if found.query and compressed else None, turned, value)


def _is_cross(path: str, node: ModuleNode, found: Projections) -> bool:
    """Whether keys come from elsewhere: it is called so, it says so, or they have another width."""
    said = [
        child.attribute("is_cross_attention") for child in (node, *(each for _, each in breadth_first(node)))
    ]
    if True in said or _CROSS.search(f"{path} {node.class_name}"):
        return True
    return bool(found.query and found.key and found.query.given != found.key.given and not found.expanded)


def _query_key_norms(node: ModuleNode) -> Iterator[Norm]:
    """Its own, and those of the attention that it wraps; an indexer has others for itself."""
    for name, child in node.children:
        if is_norm(child) and _QUERY_KEY_NORM.search(name):
            yield read_norm(name, child)
        elif is_attention(child):
            yield from _query_key_norms(child)


def _features(node: ModuleNode, layer: ModuleNode, found: Projections) -> Iterator[AttentionFeature]:
    names = [name for name, _ in node.children] + [name for name, _ in node.parameters]
    doubled = found.query and found.output and found.query.made == _BOTH_HALVES * found.output.given
    if any(_SINKS.search(name) for name in names):
        yield "sinks"
    if any(_GATE.search(name) for name in names) or (doubled and not found.expanded):
        yield "output gate"
    if any("Indexer" in child.class_name for _, child in node.children):
        yield "indexer"
    if any(_POSITION_TABLE.search(name) and embedding_sizes(child) for name, child in node.children):
        yield "position table"
    if node.attribute("is_kv_shared_layer") is True:
        yield "shared key-values"
    shift = next((size for each in (layer, node) if (size := each.attribute("shift_size"))), None)
    if shift and (not isinstance(shift, tuple) or any(shift)):
        yield "shifted windows"
