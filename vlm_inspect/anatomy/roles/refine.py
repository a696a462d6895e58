"""What hangs loose on the spine: bare parameters, and Linears that are one projector only together."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from vlm_inspect.anatomy.layers.stacks import holds_stack, kinds
from vlm_inspect.anatomy.leaves import is_list, linear_widths
from vlm_inspect.anatomy.roles import names
from vlm_inspect.anatomy.roles.claims import Claim
from vlm_inspect.anatomy.roles.inner import stream_width, written_width
from vlm_inspect.anatomy.roles.language import nearest
from vlm_inspect.core.architecture import ENCODERS, Role
from vlm_inspect.core.module_tree import ModuleNode, ModuleTree, is_below, join

# in which two Linears of one MLP differ: `img_projection_up`, `img_projection_down`
_STEP = re.compile(r"(^|_)(up|down|in|out|fc|linear)?_?\d?(?=_|$)")
_OF_IMAGES = re.compile(r"(quer(y|ies)|latent|newline|separator|view_)")
_SOURCES = frozenset({Role.VISION_ENCODER, Role.AUDIO_ENCODER, Role.GENERATOR, Role.OTHER})


def gathered(tree: ModuleTree, claims: Sequence[Claim]) -> list[Claim]:
    """The claims, with the Linears of one projector that have no module of their own as one claim.

    They lie side by side and are named alike but for the step that they are.
    """
    merged: dict[tuple[str, str], Claim] = {}
    for claim in claims:
        path = claim.paths[0]
        node = tree.find(path)
        single = claim.role is Role.PROJECTOR and node is not None and linear_widths(node) is not None
        place = (names.parent(path), _STEP.sub("", names.last(path))) if single else (path, "")
        first = merged.get(place)
        merged[place] = replace(first, paths=(*first.paths, *claim.paths)) if first is not None else claim
    return list(merged.values())


def with_lists(tree: ModuleTree, claims: Sequence[Claim]) -> list[Claim]:
    """The claims, with lists of bare parameters (GIT's embeddings of time) given to the projector beside."""
    loose = [
        claim for claim in claims if claim.role is Role.PROJECTOR and _is_list(tree.find(claim.paths[0]))
    ]
    kept = [claim for claim in claims if claim not in loose]
    for claim in loose:
        path = claim.paths[0]
        index = _projector_beside(kept, names.parent(path), names.last(path))
        if index is None:
            kept.append(claim)
        else:
            kept[index] = replace(kept[index], paths=(*kept[index].paths, path))
    return kept


def from_elsewhere(tree: ModuleTree, claims: Sequence[Claim]) -> list[Claim]:
    """The claims without projectors that have nothing to project: what text calls so is its own (BLT's).

    One that is named for another modality stays: its tower may not have been built, or not be needed.
    """
    has_source = bool(tree.missing_modules) or any(claim.role in _SOURCES for claim in claims)
    patterns = (names.VISION, names.AUDIO, names.ANOTHER_MODALITY)
    return [
        claim
        for claim in claims
        if has_source
        or claim.role is not Role.PROJECTOR
        or claim.rule == "structure"
        or any(pattern.search(path) for pattern in patterns for path in claim.paths)
    ]


def with_parameters(tree: ModuleTree, claims: Sequence[Claim]) -> list[Claim]:
    """The claims, with the bare parameters beside a projector given to it: query tokens, separators, gates.

    Of several projectors the one that begins most like the parameter has it, of equals the last. In the
    language model's own module a bare parameter is the text's, unless it is named for what only images
    need.
    """
    claims = list(claims)
    owner = {path: index for index, claim in enumerate(claims) for path in claim.paths}
    holders = {names.parent(claim.paths[0]) for claim in claims if claim.role is Role.PROJECTOR}
    for path in sorted(holders):
        node = tree.find(path)
        if node is None or not _is_spine(claims, owner, path):
            continue
        for name, _ in node.parameters:
            index = _projector_beside(claims, path, name)
            if index is not None and (path not in owner or _OF_IMAGES.search(name)):
                claims[index] = replace(claims[index], paths=(*claims[index].paths, join(path, name)))
    return claims


def with_whole_head(tree: ModuleTree, claims: Sequence[Claim]) -> list[Claim]:
    """The claims, with what nobody claimed beside the head and what writes the width that it takes.

    ModernBERT's decoder and Electra transform the hidden state in a module beside the head's Linear.
    """
    taken = [path for claim in claims for path in claim.paths]
    return [
        replace(claim, paths=(*_before_head(tree, claim.paths[0], taken), *claim.paths))
        if claim.role is Role.LM_HEAD
        else claim
        for claim in claims
    ]


def _before_head(tree: ModuleTree, head: str, taken: Sequence[str]) -> Iterator[str]:
    node, holder = tree.find(head), tree.find(names.parent(head))
    widths = linear_widths(node) if node is not None else None
    for name, child in holder.children if holder is not None and widths else ():
        path = join(names.parent(head), name)
        free = child.total and not any(is_below(at, path) or is_below(path, at) for at in taken)
        free = free and any(linear_widths(leaf) for _, leaf in kinds(child, ""))
        if free and not holds_stack(child) and written_width(child) == (widths or (0, 0))[0]:
            yield path


def _is_list(node: ModuleNode | None) -> bool:
    """A list of bare parameters: torch's, which is a module and does nothing."""
    return node is not None and node.class_name in {"ParameterList", "ParameterDict"}


def _is_spine(claims: Sequence[Claim], owner: dict[str, int], path: str) -> bool:
    holder = nearest(path, owner)
    return holder is None or claims[owner[holder]].role is Role.LANGUAGE_MODEL


def _projector_beside(claims: Sequence[Claim], path: str, name: str) -> int | None:
    beside = [
        index
        for index, claim in enumerate(claims)
        if claim.role is Role.PROJECTOR and names.parent(claim.paths[0]) == path
    ]
    return max(
        beside, key=lambda index: (_alike(names.last(claims[index].paths[0]), name), index), default=None
    )


def _alike(one: str, other: str) -> int:
    """How many letters two names have in common from their beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(one), len(other)))


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
