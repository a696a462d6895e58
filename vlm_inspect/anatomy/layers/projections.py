"""The projections of attention and MLP modules, with their widths and biases."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from msgspec import Struct

from vlm_inspect.anatomy.module_kinds import leaves, linear_widths, pointwise_widths
from vlm_inspect.core.architecture import Projection
from vlm_inspect.core.module_tree import ModuleNode, join, last_name

# no shape distinguishes a query from a value, so names decide
_PROJECTION_NAMES = (
    ("query", re.compile(r"^(q|wq|q_proj|q_b_proj|q_linear|to_q|query|query_proj|linear_q)$")),
    ("key", re.compile(r"^(k|wk|k_proj|k_linear|to_k|key|key_proj|key_\w+|linear_k)$")),
    ("value", re.compile(r"^(v|wv|v_proj|v_linear|to_v|value|value_proj|value_\w+|linear_v)$")),
    ("compressed", re.compile(r"^kv_a_proj")),
    ("expanded", re.compile(r"^kv_b_proj")),
    ("key_value", re.compile(r"^(to_kv|kv|kv_proj|key_value|c_kv|wkv)$")),
    (
        "fused",
        re.compile(r"^(qkv|qkv_proj|query_key_value|Wqkv|wqkv|c_attn|in_proj|to_qkv|qkv_linear|att_proj)$"),
    ),
    (
        "output",
        re.compile(
            r"^(o|wo|out|output|o_proj|out_proj|proj|projection|projection_layer|dense|c_proj|to_out"
            r"|linear_out|output_proj|attn_out)$"
        ),
    ),
)
_DOWN_NAME = re.compile(
    r"(^|_)(down(_proj)?|fc2|c_proj|w2|wo|linear_?2|linear_fc2|lin2|dense_4h_to_h|fc_out|proj_out|linear_out)$"
)
_GATE_AND_UP = 2
_LORA = re.compile(r"(^|\.)lora_")


class Linear(Struct, frozen=True):
    """One projection."""

    in_features: int
    out_features: int
    bias: bool


class Projections(Struct, frozen=True):
    """The projections of an attention; `fused` and `key_value` hold several in one weight."""

    query: Linear | None = None
    key: Linear | None = None
    value: Linear | None = None
    output: Linear | None = None
    fused: Linear | None = None
    """Queries, keys and values."""
    key_value: Linear | None = None
    """Keys and values."""
    compressed: Linear | None = None
    """Of latent attention: to the key-value rank and the rotary part of the keys."""
    expanded: Linear | None = None
    """Of latent attention: from the rank to keys and values."""

    @property
    def with_bias(self) -> tuple[Projection, ...]:
        """The projections that have a bias."""
        weights: dict[Projection, tuple[Linear | None, ...]] = {
            "query": (self.query, self.fused),
            "key": (self.key, self.fused, self.key_value, self.expanded),
            "value": (self.value, self.fused, self.key_value, self.expanded),
            "output": (self.output,),
        }
        return tuple(name for name, linears in weights.items() if any(each and each.bias for each in linears))

    @property
    def any(self) -> bool:
        """Whether at least one projection was found."""
        return self != Projections()


def attention_projections(node: ModuleNode) -> Projections:
    """The projections at and below an attention, the first of each name."""
    found: dict[str, Linear] = {}
    weight = node.shape("in_proj_weight")  # torch's own MultiheadAttention
    if weight is not None:
        found["fused"] = Linear(weight[1], weight[0], node.shape("in_proj_bias") is not None)
    for path, child in outside_indexers(node):
        widths = linear_widths(child) or pointwise_widths(child)
        if widths and (name := _projection_name(path)):
            found.setdefault(name, Linear(*widths, child.shape("bias") is not None))
    return Projections(**found)


def _projection_name(path: str) -> str | None:
    """By the last known name in a path: `output.dense` is an output, `q_proj.linear` a query.

    `proj` is considered last: `query.proj` is a query.
    """
    parts = path.split(".")[::-1]
    parts.sort(key=lambda part: part == "proj")
    return next((name for part in parts for name, pattern in _PROJECTION_NAMES if pattern.search(part)), None)


def outside_indexers(node: ModuleNode, path: str = "") -> Iterator[tuple[str, ModuleNode]]:
    """All modules below an attention, without its indexer, which has projections of its own.

    Args:
        node: The attention.
        path: What the paths start with.

    """
    for name, child in node.children:
        at = join(path, name)
        if "Indexer" not in child.class_name:
            yield at, child
            yield from outside_indexers(child, at)


PathWidths = tuple[str, tuple[int, int]]
"""Path and (in, out) widths of a projection."""


class MlpWidths(Struct, frozen=True):
    """The widths of an MLP; all None if it has no projections."""

    input: int | None = None
    hidden: int | None = None
    """Input width of the down projection."""
    output: int | None = None
    gated: bool | None = None
    """Whether a second projection gates the first."""


def mlp_widths(node: ModuleNode) -> MlpWidths:
    """The widths of an MLP, read from its Linears, or else from its pointwise convolutions."""
    pointwise = [(path, widths) for path, leaf in leaves(node, "") if (widths := pointwise_widths(leaf))]
    projections = linear_paths(node) or pointwise
    if node.inferred and not any(last_name(path).isdigit() for path, _ in projections):
        # headers list them by name, not in the order of use: the inside of an MLP is wider
        projections.sort(key=lambda each: each[1][0])
    return combined_widths(projections)


def linear_paths(node: ModuleNode) -> list[PathWidths]:
    """The Linears at and below a node, in order, without LoRA adapters."""
    return [
        (path, widths)
        for path, leaf in leaves(node, "")
        if (widths := linear_widths(leaf)) is not None and not _LORA.search(path)
    ]


def gated_down(projections: Sequence[PathWidths]) -> int | None:
    """The index of the down projection of a gated MLP, by widths alone; None if they are not those of one.

    Two of three projections have the same widths, so that neither can follow the other: they stand side by side.
    Or the first of two is fused: its output is twice the input of the second. If both can be, the inside is wider.
    """
    found = []
    for index, (_, down) in enumerate(projections):
        others = [each for other, each in enumerate(projections) if other != index]
        if _are_gate_and_up([widths for _, widths in others], down) or _is_fused(others, down):
            found.append(index)
    return max(found, key=lambda index: projections[index][1][0], default=None)


def _are_gate_and_up(others: Sequence[tuple[int, int]], down: tuple[int, int]) -> bool:
    if len(others) != _GATE_AND_UP or others[0] != others[1]:
        return False
    width, hidden = others[0]
    return width != hidden == down[0]


def _is_fused(others: Sequence[PathWidths], down: tuple[int, int]) -> bool:
    """Whether there is one other projection, to two halves: the gate and what it is multiplied with."""
    if len(others) != 1:
        return False
    ((path, (width, halves)),) = others
    # two projections to one width may also stand side by side
    is_gate = halves != down[1] or "gate" in last_name(path)
    return halves == 2 * down[0] and width not in {down[0], down[1]} and is_gate


def combined_widths(projections: Sequence[PathWidths]) -> MlpWidths:
    """The widths of an MLP with these projections."""
    if not projections:
        return MlpWidths()
    named = (widths for path, widths in projections if _DOWN_NAME.search(last_name(path)))
    gated = gated_down(projections)
    down = projections[gated][1] if gated is not None else next(named, projections[-1][1])
    ups = [widths for _, widths in projections if widths is not down]
    if not ups:
        return MlpWidths(down[0], down[0], down[1], gated=False)
    # two projections have the hidden width, or a fused one has twice as much
    outputs = [up[1] for up in ups]
    gated = outputs.count(down[0]) > 1 or 2 * down[0] in outputs
    return MlpWidths(ups[0][0], down[0], down[1], gated)
