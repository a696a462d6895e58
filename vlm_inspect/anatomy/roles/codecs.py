"""Codecs: modules that turn images or sound into codes, and often back.

A codec has a quantizer, or a class with both `encode` and `decode`. Its encoder half reads the input; its decoder
half, what only `decode` uses, generates images or sound.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec.structs import replace

from vlm_inspect.anatomy.roles.assignments import Assignments, RoleAssignment
from vlm_inspect.anatomy.roles.candidates import Candidate
from vlm_inspect.anatomy.roles.inputs_outputs import RawInput, quantizer_name, raw_input
from vlm_inspect.core.architecture import ENCODERS, Role
from vlm_inspect.core.module_tree import ModuleNode, ModuleTree, join, parent_path

# the names of a decoder half, where the source of `decode` is not at hand
_DECODER_NAME = re.compile(r"(^|_)decoder(_|$)")
_BEFORE_DECODER_NAME = re.compile(r"^(upsample\w*|post_quant_\w+)$")


def is_codec(node: ModuleNode) -> bool:
    """Whether a module has a quantizer, or a decoder half next to its encoder."""
    return bool(node.decoder_half) or quantizer_name(node) is not None


def codec_input(candidate: Candidate) -> RawInput | None:
    """The pixels or the sound that a codec takes: its own, or those of the one encoder whose output it takes."""
    if candidate.input is not None or candidate.has_layers:
        return candidate.input
    holder = parent_path(candidate.path)
    node = candidate.tree.find(holder)
    siblings = [raw_input(child, join(holder, name)) for name, child in node.children] if node is not None else []
    found = {taken.encoder: taken for taken in reversed(siblings) if taken is not None}
    return next(iter(found.values())) if len(found) == 1 else None


def whole_model_codec(root: Candidate) -> list[RoleAssignment]:
    """The two halves of a model that is a codec and nothing else; empty for other models."""
    if root.backbone is not None or not is_codec(root.node) or root.input is None:
        return []
    decoder = _decoder_half(root.node)
    names = [name for name, child in root.node.children if child.total and name not in decoder]
    paths = (*names, *(name for name, _ in root.node.parameters))
    detail = f"the model is a codec, and {root.input.convolution} takes {root.input.data}"
    return [RoleAssignment(root.input.encoder, paths, "structure", detail), *_generator(root.path, decoder)]


def split_codecs(tree: ModuleTree, assignments: Assignments) -> Iterator[RoleAssignment]:
    """Split codecs: one half encodes input to codes, the other generates images or sound from codes.

    If the model has another encoder of that modality (Janus), its codec only generates output, unless it makes
    codes of that encoder's output (GLM-Image), or the model's own `get_encoder` returns the codec.
    """
    for assignment in assignments:
        codec = assigned_codec(tree, assignment)
        if codec is None:
            yield assignment
            continue
        encoders = [each for each in assignments if each.role is assignment.role and not assigned_codec(tree, each)]
        takes_raw_input = raw_input(codec, "") is not None
        if encoders and takes_raw_input and assignment.rule != "accessor":
            detail = f"a codec, while {encoders[0].paths[0]} encodes the input; {assignment.detail}"
            yield replace(assignment, role=Role.GENERATOR, detail=detail)
            continue
        yield assignment
        yield from _generator(assignment.paths[0], _decoder_half(codec))


def assigned_codec(tree: ModuleTree, assignment: RoleAssignment) -> ModuleNode | None:
    """The codec that an assignment calls an encoder; None if it is something else."""
    node = tree.find(assignment.paths[0]) if assignment.role in ENCODERS else None
    return node if node is not None and is_codec(node) else None


def _decoder_half(codec: ModuleNode) -> tuple[str, ...]:
    """The children that only decode, by the class's `decode` and by their names."""
    names = [name for name, child in codec.children if child.total]
    named = [name for name in names if _DECODER_NAME.search(name)]
    before = [name for name in names if named and _BEFORE_DECODER_NAME.search(name)]
    return tuple(name for name in names if name in {*codec.decoder_half, *named, *before})


def _generator(codec: str, decoder: tuple[str, ...]) -> Iterator[RoleAssignment]:
    if decoder:
        detail = f"the decoder half of the codec {codec}" if codec else "the decoder half of the codec"
        yield RoleAssignment(Role.GENERATOR, tuple(join(codec, name) for name in decoder), "structure", detail)
