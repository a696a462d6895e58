"""The widths of a feed-forward module, and whether it is gated: read off its projections' shapes."""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import Struct

from vlm_inspect.anatomy.leaves import leaves, linear_widths, pointwise_widths
from vlm_inspect.tree import ModuleNode

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
