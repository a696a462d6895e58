"""The projections of an attention, by their names: no shape tells a query from a value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from msgspec import Struct

from vlm_inspect.anatomy.leaves import leaves, linear_widths, pointwise_widths
from vlm_inspect.core.architecture import Projection
from vlm_inspect.core.module_tree import ModuleNode, join

_NAMES = (
    ("query", re.compile(r"^(q|wq|q_proj|q_b_proj|q_linear|to_q|query|query_proj|linear_q)$")),
    ("key", re.compile(r"^(k|wk|k_proj|k_linear|to_k|key|key_proj|key_\w+|linear_k)$")),
    ("value", re.compile(r"^(v|wv|v_proj|v_linear|to_v|value|value_proj|value_\w+|linear_v)$")),
    ("compressed", re.compile(r"^kv_a_proj")),
    ("expanded", re.compile(r"^kv_b_proj")),
    ("key_value", re.compile(r"^(to_kv|kv|kv_proj|key_value|c_kv|wkv)$")),
    ("fused", re.compile(r"^(qkv|qkv_proj|query_key_value|Wqkv|wqkv|c_attn|in_proj|to_qkv|qkv_linear)$")),
    (
        "output",
        re.compile(
            r"^(o|wo|out|output|o_proj|out_proj|proj|projection|projection_layer|dense|c_proj|to_out"
            r"|linear_out|output_proj)$"
        ),
    ),
)


class Linear(Struct, frozen=True):
    """One projection: the widths that it takes and makes, and whether it adds a bias."""

    given: int
    made: int
    biased: bool


class Projections(Struct, frozen=True):
    """What an attention projects with; several of these at once in one `fused` weight."""

    query: Linear | None = None
    key: Linear | None = None
    value: Linear | None = None
    output: Linear | None = None
    fused: Linear | None = None
    """Queries, keys and values in one."""
    key_value: Linear | None = None
    """Keys and values in one."""
    compressed: Linear | None = None
    """Of latent attention: to the keys' and values' rank, and the part that is turned."""
    expanded: Linear | None = None
    """Of latent attention: from the rank to keys and values."""

    @property
    def biased(self) -> tuple[Projection, ...]:
        """Which have a bias."""
        several: dict[Projection, tuple[Linear | None, ...]] = {
            "query": (self.query, self.fused),
            "key": (self.key, self.fused, self.key_value, self.expanded),
            "value": (self.value, self.fused, self.key_value, self.expanded),
            "output": (self.output,),
        }
        return tuple(
            name for name, linears in several.items() if any(linear and linear.biased for linear in linears)
        )

    @property
    def any(self) -> bool:
        """Whether one was found."""
        return any(getattr(self, name) is not None for name in self.__struct_fields__)


def projections(node: ModuleNode) -> Projections:
    """The projections at and below an attention, the first of each name."""
    found: dict[str, Linear] = {}
    weight = node.shape("in_proj_weight")  # torch's own MultiheadAttention
    if weight is not None:
        found["fused"] = Linear(weight[1], weight[0], node.shape("in_proj_bias") is not None)
    for path, child in _outside_parts(node, ""):
        widths = linear_widths(child) or pointwise_widths(child)
        role = _role(path) if widths else None
        if role is not None and widths is not None and role not in found:
            found[role] = Linear(*widths, child.shape("bias") is not None)
    return Projections(**found)


def _role(path: str) -> str | None:
    """What the nearest telling part of a path names: `output.dense` is an output, `q_proj.linear` a query.

    `proj` alone says least: `query.proj` is a query.
    """
    nearest_first = path.split(".")[::-1]
    for part in sorted(nearest_first, key=lambda part: part == "proj"):
        for role, name in _NAMES:
            if name.search(part):
                return role
    return None


def _outside_parts(node: ModuleNode, path: str) -> Iterator[tuple[str, ModuleNode]]:
    """All below an attention but what chooses tokens for it: an indexer has projections of its own."""
    for name, child in node.children:
        at = join(path, name)
        if "Indexer" not in child.class_name:
            yield at, child
            yield from _outside_parts(child, at)


_DOWN = re.compile(
    r"(^|_)(down_proj|fc2|c_proj|w2|wo|linear_?2|linear_fc2|lin2|dense_4h_to_h|fc_out|proj_out|linear_out)$"
)
_LORA = re.compile(r"(^|\.)lora_")


class Widths(Struct, frozen=True):
    """What goes in, what reaches the down projection, what comes out."""

    given: int | None = None
    hidden: int | None = None
    made: int | None = None
    gated: bool | None = None
    """Whether a second projection gates the first; None where there are no projections."""


def linears(node: ModuleNode) -> list[tuple[str, tuple[int, int]]]:
    """The projections at and below a node with their paths, in order."""
    return [
        (path, widths)
        for path, leaf in leaves(node, "")
        if (widths := linear_widths(leaf)) is not None and not _LORA.search(path)
    ]


def feed_forward(node: ModuleNode) -> Widths:
    """The widths of an MLP; half of a fused gate and up projection."""
    return widths_of(linears(node) or _pointwise(node))


def _pointwise(node: ModuleNode) -> list[tuple[str, tuple[int, int]]]:
    """The projections of an MLP over an image that is kept as one: convolutions that see one place."""
    return [(path, widths) for path, leaf in leaves(node, "") if (widths := pointwise_widths(leaf))]


def widths_of(found: Sequence[tuple[str, tuple[int, int]]]) -> Widths:
    """The widths that projections make together."""
    if not found:
        return Widths()
    named = next((widths for path, widths in found if _DOWN.search(path.rpartition(".")[2])), None)
    down = named or found[-1][1]
    ups = [widths for _, widths in found if widths is not down]
    if not ups:
        return Widths(down[0], down[0], down[1], gated=False)
    return Widths(ups[0][0], down[0], down[1], _gated(ups, down))


def _gated(ups: Sequence[tuple[int, int]], down: tuple[int, int]) -> bool:
    """Two projections to the hidden width, or one to twice as much."""
    alike = [up for up in ups if up[1] == down[0]]
    return len(alike) > 1 or any(up[1] == 2 * down[0] for up in ups)
