"""Projectors that live inside a tower."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from vlm_inspect.anatomy.layers.norms import read_norm
from vlm_inspect.anatomy.layers.stacks import is_stack, kinds, last_stack
from vlm_inspect.anatomy.leaves import contains_attention, embedding_sizes, is_norm, linear_widths
from vlm_inspect.anatomy.roles.claims import Claim
from vlm_inspect.anatomy.roles.names import last
from vlm_inspect.core.architecture import ENCODERS, Role
from vlm_inspect.core.module_tree import ModuleNode, ModuleTree, join

_INNER_PROJECTOR = re.compile(r"(^|_)(merger|merger_list|adapter|projector|connector|aligner|resampler)$")
_TAIL = re.compile(r"^proj\d?$")


def inner_projectors(tree: ModuleTree, claims: list[Claim], text_width: int | None) -> Iterator[Claim]:
    """What a tower (or the encoder of another modality) holds to reach the text's width.

    That is what is called a projector in it, or else what follows its layers at another width than
    theirs. One with attention that keeps the tower's width only merges tokens between its layers
    (MiniCPM's `vit_merger`) and stays the tower's.
    """
    for claim in claims:
        if claim.role not in ENCODERS and not (claim.role is Role.OTHER and claim.rule == "structure"):
            continue
        for tower in claim.paths:
            node = tree.find(tower)
            named = list(_named(node, tower)) if node is not None else []
            yield from named
            if node is not None and not named and claim.role in ENCODERS:
                yield from _tail(node, tower, text_width, _taken_in(tree, claims))


def stream_width(node: ModuleNode) -> int | None:
    """The width of a tower's stream: what its last layer's last projection writes."""
    stack = last_stack(node)
    return _output_width(stack) if stack is not None else None


def written_width(node: ModuleNode) -> int | None:
    """The width of what a module writes: that of its last norm, Linear or table."""
    return _last(node, lambda child: _width_of(child) or (linear_widths(child) or (None, None))[1])


def _named(node: ModuleNode, tower: str) -> Iterator[Claim]:
    width = stream_width(node)
    pending = [(join(tower, name), child) for name, child in node.children]
    while pending:
        path, child = pending.pop(0)
        name = last(path)
        if not child.total:
            continue
        if _INNER_PROJECTOR.search(name) and not _keeps(child, width):
            yield Claim(Role.PROJECTOR, (path,), "name", f"the name {name!r} inside {tower}")
        elif not is_stack(child):
            pending += [(join(path, key), below) for key, below in child.children]


def _keeps(node: ModuleNode, width: int | None) -> bool:
    return contains_attention(node) and _output_width(node) == width


def _tail(node: ModuleNode, tower: str, text_width: int | None, taken_in: set[int]) -> Iterator[Claim]:
    """The tower's own leaves that leave its layers' width: a Linear, and what works at the width it makes.

    The width that is made is the text's, or that of a Linear called `proj` (Qwen's audio towers, whose
    default width is another than their text's). One that a projector outside takes in is the tower's.
    """
    width = stream_width(node)
    linears = {name: pair for name, child in node.children if (pair := linear_widths(child))}
    made = {name: pair[1] for name, pair in linears.items() if pair[1] not in {width, *taken_in}}
    ends = [name for name, out in made.items() if out == text_width]
    ends = ends or [name for name in made if _TAIL.search(name)]
    if width is None or not ends:
        return
    end = made[ends[-1]]
    before = [name for name in linears if _TAIL.search(name) and name not in ends]
    beside = [name for name, child in node.children if _width_of(child) == end]
    paths = tuple(join(tower, name) for name in (*before, *ends, *beside))
    detail = f"behind the layers of {tower}, which are {width} wide, and {end} wide itself"
    yield Claim(Role.PROJECTOR, paths, "structure", detail)


def _width_of(node: ModuleNode) -> int | None:
    """The width of a norm or of learned tokens."""
    if is_norm(node):
        return read_norm("", node).width
    sizes = embedding_sizes(node)
    return sizes[1] if sizes else None


def _taken_in(tree: ModuleTree, claims: list[Claim]) -> set[int]:
    """The widths that the projectors outside the towers take in."""
    nodes = [tree.find(path) for claim in claims if claim.role is Role.PROJECTOR for path in claim.paths]
    firsts = (_first_linear(node) for node in nodes if node is not None)
    return {pair[0] for pair in firsts if pair}


def _first_linear(node: ModuleNode) -> tuple[int, int] | None:
    return next((pair for _, child in kinds(node, "") if (pair := linear_widths(child))), None)


def _output_width(node: ModuleNode) -> int | None:
    return _last(node, lambda child: (linear_widths(child) or (None, None))[1])


def _last(node: ModuleNode, width: Callable[[ModuleNode], int | None]) -> int | None:
    """The width of the last module at or below a node that has one."""
    below = (found for _, child in reversed(node.children) if (found := _last(child, width)))
    return next(below, None) or width(node)
