"""Towers that are more than one thing: two encoders in one module, and codecs that also decode."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from vlm_inspect.anatomy.leaves import is_list
from vlm_inspect.anatomy.roles import field_names as names
from vlm_inspect.anatomy.roles.claims import Claim
from vlm_inspect.anatomy.roles.inner import stream_width
from vlm_inspect.anatomy.roles.kinds import holds_stack
from vlm_inspect.architecture import ENCODERS, Role
from vlm_inspect.tree import ModuleNode, ModuleTree, join

_DECODING = re.compile(r"^(decoder(_\w+)?|upsample\w*|post_quant_\w+)$")
_PAIR = 2


def each_encoder(tree: ModuleTree, claims: Sequence[Claim]) -> Iterator[Claim]:
    """The claims, with towers that hold two encoders told as two (SAM and CLIP, speech and speakers).

    Two encoders are modules with layers of their own, of different classes and different widths; two
    stacks of one width are one encoder's (Mllama's local and global layers).
    """
    for claim in claims:
        node = tree.find(claim.paths[0])
        whole = claim.role not in ENCODERS or _codec(tree, claim) is not None
        inside = _encoders(node) if node is not None and not whole else []
        yield from _apart(claim, node, inside) if node is not None and inside else (claim,)


def _encoders(node: ModuleNode) -> list[str]:
    found = {
        name: (child.class_name, stream_width(child))
        for name, child in node.children
        if not is_list(child) and holds_stack(child)
    }
    classes = {class_name for class_name, _ in found.values()}
    widths = {width for _, width in found.values()}
    return list(found) if min(len(classes), len(widths)) >= _PAIR else []


def _apart(claim: Claim, node: ModuleNode, encoders: list[str]) -> Iterator[Claim]:
    """One claim per encoder. What lies beside them goes to the one that it is named after, or to the last."""
    tower = claim.paths[0]
    held: dict[str, list[str]] = {name: [join(tower, name)] for name in encoders}
    rest = [name for name, _ in node.parameters] + [name for name, child in node.children if child.total]
    for name in rest:
        if name not in held:
            named = (encoder for encoder in encoders if encoder.split("_")[0] == name.split("_")[0])
            held[next(named, encoders[-1])].append(join(tower, name))
    for paths in held.values():
        each = f"one of {len(encoders)} encoders in {tower}, each with layers of its own width"
        detail = f"{each}; {claim.detail}"
        yield Claim(claim.role, tuple(paths), claim.rule, detail)


def each_half(tree: ModuleTree, claims: Sequence[Claim]) -> Iterator[Claim]:
    """The claims, with codecs told as what they do: one half makes codes, the other images or sound of them.

    Where the model has another encoder of that modality (Janus), the codec is not what it sees by, and
    all of it serves the output.
    """
    for claim in claims:
        codec = _codec(tree, claim)
        if codec is None:
            yield claim
            continue
        seen = [other for other in claims if other.role is claim.role and _codec(tree, other) is None]
        if seen:
            detail = f"a codec beside {seen[0].paths[0]}, by which the model takes its input; {claim.detail}"
            yield replace(claim, role=Role.GENERATOR, detail=detail)
            continue
        yield claim
        paths = tuple(join(claim.paths[0], name) for name, _ in codec.children if _DECODING.search(name))
        if any(names.last(path) == "decoder" for path in paths):
            detail = f"the half of the codec {claim.paths[0]} that makes output of codes"
            yield Claim(Role.GENERATOR, paths, "structure", detail)


def is_codec(node: ModuleNode) -> bool:
    """Whether a module has a quantiser of its own."""
    return any(names.QUANTISER.search(f"{name} {child.class_name}") for name, child in node.children)


def _codec(tree: ModuleTree, claim: Claim) -> ModuleNode | None:
    node = tree.find(claim.paths[0]) if claim.role in ENCODERS else None
    return node if node is not None and is_codec(node) else None
