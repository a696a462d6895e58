"""What role does a module have? An ordered list of finders, from the most to the least reliable.

FINDERS is the specification: the first finder with a result wins, and the result is the evidence. A
*projector* is what PROJECTOR in `names.py` matches, what takes pixels or sound and has no layers, or what
maps to the text width outside of the text backbone. (`refine.py` and `inner_projectors.py` then merge
projectors, drop some and find those inside encoders.)
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from vlm_inspect.anatomy.layers.stacks import holds_stack
from vlm_inspect.anatomy.leaves import (
    contains_attention,
    convolution_channels,
    is_list,
    leaves,
    linear_widths,
)
from vlm_inspect.anatomy.roles import names
from vlm_inspect.anatomy.roles.anchors import TextBackbone
from vlm_inspect.anatomy.roles.inputs_outputs import (
    output_width,
    pixel_convolution,
    sound_convolution,
    token_table,
)
from vlm_inspect.core.architecture import ENCODERS, Role, Rule
from vlm_inspect.core.module_tree import ModuleNode, ModuleTree, is_below, join

ENCODER_MODALITIES = (
    ("image", Role.VISION_ENCODER),
    ("video", Role.VISION_ENCODER),
    ("audio", Role.AUDIO_ENCODER),
)
"""The modalities that transformers' `get_encoder` accepts, and the roles of their encoders."""


class Candidate(Struct, frozen=True):
    """A module without a role yet, and what the finders may look at."""

    tree: ModuleTree
    path: str
    node: ModuleNode
    backbone: TextBackbone | None = None
    """None if the model has no text embedding."""

    @property
    def name(self) -> str:
        """The last name of the path."""
        return names.last_name(self.path)

    def children(self) -> list[Candidate]:
        """The children that have parameters."""
        return [
            Candidate(self.tree, join(self.path, name), child, self.backbone)
            for name, child in self.node.children
            if child.total
        ]


Found = tuple[Role, Rule, str]
"""A role, the kind of rule that gave it, and the evidence."""
Finder = Callable[[Candidate], Found | None]


def find_role(candidate: Candidate) -> Found | None:
    """The result of the first finder that has one."""
    return next((found for finder in FINDERS if (found := finder(candidate)) is not None), None)


def _by_accessor(candidate: Candidate) -> Found | None:
    """What `get_encoder` and `get_decoder` return, if it is plausible.

    `get_encoder` returns the model itself if it finds no encoder; a candidate is never the model. One
    result for images and audio is right for neither, and a lone embedding or Linear is not an encoder.
    """
    accessors = candidate.tree.accessors
    returned = {modality: accessors.get(f"get_encoder({modality})") for modality, _ in ENCODER_MODALITIES}
    is_plausible = returned["image"] != returned["audio"] and candidate.node.children
    for modality, role in ENCODER_MODALITIES if is_plausible else ():
        if returned[modality] == candidate.path:
            return role, "accessor", f'get_encoder(modality="{modality}") returned {candidate.path}'
    if accessors.get("get_decoder") == candidate.path and contains_attention(candidate.node):
        return Role.LANGUAGE_MODEL, "accessor", f"get_decoder() returned {candidate.path}"
    return None


def _by_quantizer(candidate: Candidate) -> Found | None:
    """A module with a quantizer turns images or sound into tokens: its encoder half is an encoder."""
    quantizer = quantizer_name(candidate.node)
    if quantizer is None:
        return None
    for role, convolution in (
        (Role.VISION_ENCODER, pixel_convolution(candidate.node, candidate.path)),
        (Role.AUDIO_ENCODER, sound_convolution(candidate.node, candidate.path)),
    ):
        if convolution:
            return role, "structure", f"{quantizer} makes tokens from the output of {convolution}"
    return None


def _by_name(candidate: Candidate) -> Found | None:
    if names.GENERATOR.search(candidate.name):  # a talker as a whole, whatever its parts are called
        return Role.GENERATOR, "name", f"the name {candidate.name!r}"
    if _is_wrapper(candidate.node) or _belongs_to_text(candidate):
        return None
    for role, pattern in names.ROLE_NAMES:
        if not pattern.search(candidate.name):
            continue
        if role is Role.LANGUAGE_MODEL and not _can_be_language_model(candidate):
            continue
        if role in ENCODERS and not _can_be_encoder(candidate):
            modality = "images" if role is Role.VISION_ENCODER else "audio"
            detail = f"named for {modality}, but without layers and without a convolution over {modality}"
            return Role.PROJECTOR, "structure", detail
        return role, "name", f"the name {candidate.name!r}"
    return None


def _by_class(candidate: Candidate) -> Found | None:
    if _is_wrapper(candidate.node) or _belongs_to_text(candidate):
        return None
    class_name = candidate.node.class_name
    found = f"the class name {class_name}"
    if names.PROJECTOR_CLASS.search(class_name):
        return Role.PROJECTOR, "name", found
    if not contains_attention(candidate.node):
        return None
    if names.VISION_CLASS.search(class_name):
        return Role.VISION_ENCODER, "name", found
    return (Role.AUDIO_ENCODER, "name", found) if names.AUDIO_CLASS.search(class_name) else None


def _by_vocabulary(candidate: Candidate) -> Found | None:
    """An encoder with token embeddings of the text's size reads text; of another size, something else.

    T5's encoder has a copy of the text embedding (UDOP's too, which also has image patches); a protein
    encoder embeds amino acids.
    """
    table = token_table(candidate.node, candidate.path) if contains_attention(candidate.node) else None
    if table is None or candidate.backbone is None or _is_wrapper(candidate.node):
        return None
    at, sizes = table
    if sizes == candidate.backbone.sizes:
        return Role.LANGUAGE_MODEL, "structure", f"{at} has the size of the text embedding"
    if "encoder" in candidate.name:
        detail = f"an encoder with a vocabulary other than the text's ({at}, {sizes[0]} entries)"
        return Role.OTHER, "structure", detail
    return None


def _by_structure(candidate: Candidate) -> Found | None:
    """A convolution over pixels or sound makes an encoder if layers follow it, else a projector."""
    if _is_wrapper(candidate.node) or _belongs_to_text(candidate):
        return None
    convolution, role, modality = (
        pixel_convolution(candidate.node, candidate.path),
        Role.VISION_ENCODER,
        "pixels",
    )
    if convolution is None:
        convolution = sound_convolution(candidate.node, candidate.path)
        role, modality = Role.AUDIO_ENCODER, "sound"
    if convolution is None:
        return None
    if _has_layers(candidate.node):
        return role, "structure", f"layers behind {convolution}, which takes {modality}"
    return Role.PROJECTOR, "structure", f"{convolution} takes {modality}, and no layers follow"


def _by_width(candidate: Candidate) -> Found | None:
    """A projection to the text width, outside of the text backbone (InternVL's `mlp1`)."""
    backbone, node, holder = candidate.backbone, candidate.node, names.parent_path(candidate.path)
    if backbone is None or holder == backbone.path or not is_below(backbone.path, holder):
        return None
    has_linear = any(linear_widths(leaf) for _, leaf in leaves(node, candidate.path))
    if has_linear and not _has_layers(node) and output_width(node) == backbone.width:
        return Role.PROJECTOR, "shape", f"no layers, and its output has the text width {backbone.width}"
    return None


FINDERS: tuple[Finder, ...] = (
    _by_accessor,  # the model's own get_encoder() and get_decoder(), if plausible
    _by_quantizer,  # a quantizer inside: a codec, which encodes images or sound
    _by_name,  # the attribute's name, if the structure does not contradict it
    _by_class,  # the class name, for attributes with unusual names
    _by_vocabulary,  # the size of its token embedding: the text's, or another
    _by_structure,  # a convolution over pixels or sound, with or without layers behind it
    _by_width,  # a Linear to the text width
)


def holds_parts(candidate: Candidate) -> bool:
    """Whether a module without a role is a wrapper of modules that have one."""
    if any(name.isdigit() for name, _ in candidate.node.children):
        return False
    return any(find_role(child) or _is_wrapper(child.node) for child in candidate.children())


def quantizer_name(node: ModuleNode) -> str | None:
    """The name of the first child that is a quantizer."""
    for name, child in node.children:
        if names.QUANTIZER.search(name) or names.QUANTIZER.search(child.class_name):
            return name
    return None


def _is_wrapper(node: ModuleNode) -> bool:
    """Whether a module holds an encoder and its projector, or encoders of two modalities (Phi-4's).

    A child counts as an encoder only if it takes pixels or sound itself. A vision tower whose patches are
    embedded next to its transformer (Llama 4's) is one encoder, not a wrapper.
    """
    children = [(name, child) for name, child in node.children if child.total]
    if any(name.isdigit() for name, _ in children):
        return False
    if any(_is_wrapper(child) for _, child in children):
        return True
    inputs = {name: modality for name, child in children if (modality := _encoder_input(name, child))}
    projectors = [name for name, _ in children if names.PROJECTOR.search(name) and name not in inputs]
    return bool(inputs and projectors) or len(set(inputs.values())) > 1


def _encoder_input(name: str, node: ModuleNode) -> str | None:
    if is_list(node) or names.PROJECTOR.search(name) or not contains_attention(node):
        return None
    if pixel_convolution(node, name):
        return "pixels"
    return "sound" if sound_convolution(node, name) else None


def _belongs_to_text(candidate: Candidate) -> bool:
    """Whether a module next to the text layers is part of the language model.

    Text models have projections and poolers, too: Gemma projects per-layer embeddings, BERT pools. Their
    input has the text width, or they have no widths at all. A name for another modality rules this out.
    """
    backbone, node = candidate.backbone, candidate.node
    if backbone is None or names.parent_path(candidate.path) != backbone.path or contains_attention(node):
        return False
    own_names = (candidate.name, node.class_name)
    if any(pattern.search(name) for pattern in names.NON_TEXT for name in own_names):
        return False
    widths = (linear_widths(leaf) or convolution_channels(leaf) for _, leaf in leaves(node, ""))
    input_width = next((pair[0] for pair in widths if pair), None)
    return input_width is None or input_width == backbone.width


def _can_be_encoder(candidate: Candidate) -> bool:
    node, path = candidate.node, candidate.path
    return _has_layers(node) or bool(pixel_convolution(node, path) or sound_convolution(node, path))


def _can_be_language_model(candidate: Candidate) -> bool:
    return contains_attention(candidate.node) and pixel_convolution(candidate.node, candidate.path) is None


def _has_layers(node: ModuleNode) -> bool:
    return contains_attention(node) or holds_stack(node)
