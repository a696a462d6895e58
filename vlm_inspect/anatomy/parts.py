"""One kind of layer, read into its typed parts: attention, MLP, norms."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from vlm_inspect.anatomy.experts import read_experts
from vlm_inspect.anatomy.leaves import (
    breadth_first,
    is_activation,
    is_attention,
    is_mixer,
    is_norm,
    leaves,
    linear_widths,
)
from vlm_inspect.architecture import Attention, AttentionKind, Layer, Mlp, Norm
from vlm_inspect.tree import ModuleNode

_MLP_CLASS = re.compile(r"(MLP|FeedForward|FFN|MoE|Moe|GLU|_?FF$|DenseActDense)", re.IGNORECASE)
_MLP_NAMES = frozenset({"mlp", "ffn", "ff", "feed_forward", "feedforward", "block_sparse_moe"})
_DOWN = re.compile(
    r"(^|_)(down_proj|fc2|c_proj|w2|wo|linear_?2|linear_fc2|lin2|dense_4h_to_h|fc_out|proj_out)$"
)
_GATE = re.compile(r"(gate_proj|gate_up|wi_0|wi_1|w3|w13|gate$)")
_QUERY = re.compile(r"^(q_proj|query|q|wq|q_linear|to_q|query_proj)$")
_KEY = re.compile(r"^(k_proj|key|k|wk|k_linear|to_k|key_proj)$")
_FUSED = re.compile(r"(qkv|query_key_value|Wqkv|c_attn|in_proj)", re.IGNORECASE)


def read_layer(node: ModuleNode, config: Mapping[str, Any]) -> Layer:
    """One kind of layer. `config` is that of the component, for what no module says (experts per token)."""
    attention = _first(node, is_attention) or _first(node, is_mixer)
    mlp = _find_mlp(node, attention)
    return Layer(
        class_name=node.class_name,
        parameters=node.total,
        attention=read_attention(*attention, config) if attention else None,
        mlp=read_mlp(mlp, config) if mlp is not None else _bare_mlp(node, attention),
        norms=tuple(_norms(node)),
    )


def _first(node: ModuleNode, wanted: Any) -> tuple[str, ModuleNode] | None:
    return next(((path, child) for path, child in breadth_first(node) if wanted(child)), None)


def read_attention(path: str, node: ModuleNode, config: Mapping[str, Any]) -> Attention:
    """Attention: its heads from its projections' widths, where the module says how wide one head is."""
    head_width = _whole(node.attribute("head_dim", "attention_head_size", "head_size"))
    heads = _whole(node.attribute("num_heads", "num_attention_heads", "n_heads", "heads"))
    query, key = _projection(node, _QUERY), _projection(node, _KEY)
    if heads is None and head_width and query:
        heads = query // head_width
    if heads is None:
        heads = _whole(config.get("num_attention_heads")) or _whole(config.get("num_heads"))
    if head_width is None and heads and query:
        head_width = query // heads
    shared = _whole(node.attribute("num_key_value_heads", "num_kv_heads"))
    if key and head_width:
        shared = key // head_width
    elif shared is None and _projection(node, _FUSED) and not config.get("num_key_value_heads"):
        shared = heads
    return Attention(
        class_name=node.class_name,
        kind=_kind(heads, shared),
        heads=heads,
        key_value_heads=shared,
        head_width=head_width,
        cross="cross" in f"{path} {node.class_name}".lower(),
        sliding_window=_sliding_window(node),
        rotary=bool(rotary) if (rotary := node.attribute("use_rope")) is not None else None,
    )


def _sliding_window(node: ModuleNode) -> int | None:
    if node.attribute("is_sliding") is False:
        return None
    return _whole(node.attribute("sliding_window"))


def _kind(heads: int | None, key_value_heads: int | None) -> AttentionKind | None:
    if not heads or not key_value_heads:
        return None
    if heads == key_value_heads:
        return "multi-head"
    return "multi-query" if key_value_heads == 1 else "grouped-query"


def _projection(node: ModuleNode, name: re.Pattern[str]) -> int | None:
    """The output width of the first projection of that name below an attention."""
    for path, child in breadth_first(node):
        widths = linear_widths(child)
        if widths and name.search(path.rpartition(".")[2]):
            return widths[1]
    return None


def _find_mlp(node: ModuleNode, attention: tuple[str, ModuleNode] | None) -> ModuleNode | None:
    inside = attention[0] + "." if attention else "\0"
    for path, child in breadth_first(node):
        if (
            not child.total
            or path.startswith(inside)
            or child is (attention and attention[1])
            or is_norm(child)
        ):
            continue
        if path.rpartition(".")[2] in _MLP_NAMES or _MLP_CLASS.search(child.class_name):
            return child
    return None


def read_mlp(node: ModuleNode, config: Mapping[str, Any]) -> Mlp:
    """An MLP with a module of its own; of a sparse one, the experts and the widths of one of them."""
    experts, sample = read_experts(node, config)
    linears = _linears(sample if sample is not None else node)
    widths = _widths(linears)
    if experts is not None and not linears:
        width = _model_width(node)
        widths = (width, experts.hidden_width, width)
    return Mlp(
        class_name=node.class_name,
        input_width=widths[0],
        hidden_width=widths[1],
        output_width=widths[2],
        gated=_gated(node, linears),
        activation=_activation(node),
        experts=experts,
    )


def _bare_mlp(layer: ModuleNode, attention: tuple[str, ModuleNode] | None) -> Mlp | None:
    """The two projections of a layer that has no MLP module.

    `fc1` and `fc2` (BART, OPT), or BERT's `intermediate.dense` and `output.dense`.
    """
    beside = attention[0] if attention else "\0"
    linears = [
        (path, widths)
        for path, widths in _linears(layer)
        if not path.startswith(beside + ".") and "attn" not in path and "attention" not in path
    ]
    up = next((widths for _, widths in linears if widths[1] > widths[0]), None)
    down = next((widths for _, widths in reversed(linears) if widths[0] > widths[1]), None)
    if up is None or down is None or up[1] != down[0]:
        return None
    return Mlp(
        input_width=up[0],
        hidden_width=down[0],
        output_width=down[1],
        gated=False,
        activation=_activation(layer),
    )


def _linears(node: ModuleNode) -> list[tuple[str, tuple[int, int]]]:
    return [(path, widths) for path, leaf in leaves(node, "") if (widths := linear_widths(leaf)) is not None]


def _widths(linears: list[tuple[str, tuple[int, int]]]) -> tuple[int | None, int | None, int | None]:
    """(in, hidden, out): hidden is what reaches the down projection, half of a fused gate and up."""
    if not linears:
        return None, None, None
    down = next((widths for path, widths in linears if _DOWN.search(path.rpartition(".")[2])), linears[-1][1])
    up = next((widths for _, widths in linears if widths is not down), down)
    return up[0], down[0], down[1]


def _gated(node: ModuleNode, linears: list[tuple[str, tuple[int, int]]]) -> bool | None:
    """Whether a second projection gates the first."""
    names = [path.rpartition(".")[2] for path, _ in linears]
    held = [name for _, child in node.walk() for name, _ in child.parameters]
    if not names and not held:
        return None
    return any(_GATE.search(name) for name in [*names, *held])


def _activation(node: ModuleNode) -> str | None:
    for _, child in node.walk():
        if is_activation(child):
            return child.class_name
    for _, child in node.walk():
        named = child.attribute(
            "act_fn", "activation_fn", "activation", "act", "hidden_act", "intermediate_act_fn"
        )
        if isinstance(named, str):
            return named
    return None


def _model_width(node: ModuleNode) -> int | None:
    """The width of the stream through a sparse MLP: what its router reads."""
    width = next(
        (w for _, child in node.walk() if (w := child.attribute("hidden_size", "hidden_dim", "in_features"))),
        None,
    )
    return _whole(width)


def _norms(layer: ModuleNode) -> Iterator[Norm]:
    own = [(name, child) for name, child in layer.children if is_norm(child)]
    if not own:  # post-norm layers keep them in their parts (BERT's `output.LayerNorm`)
        own = [(path, child) for path, child in breadth_first(layer) if is_norm(child)]
    for name, child in own:
        yield read_norm(name, child)


def read_norm(name: str, node: ModuleNode) -> Norm:
    """A norm: its width from its weight, its eps from whatever the class calls it."""
    eps = node.attribute("eps", "variance_epsilon", "epsilon", "norm_eps")
    width = next((shape[0] for _, shape in node.parameters if shape), None)
    return Norm(node.class_name, width, eps if isinstance(eps, float) else None, name)


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
