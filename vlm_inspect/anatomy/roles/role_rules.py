"""What role does a module have? An ordered list of rules, from the most to the least reliable.

ROLE_RULES, at the end, is the specification: the first rule with a result wins, and the result is the
evidence. So a *projector* is a module with a projector's name or class name (`name_patterns.py`), one that takes
pixels or sound and has no layers, or one that maps to the text width outside of the text backbone.
`refine.py` and `inner_projectors.py` then merge projectors, drop some and find those inside encoders.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct

from vlm_inspect.anatomy.module_kinds import contains_attention, leaves, linear_widths
from vlm_inspect.anatomy.roles import name_patterns
from vlm_inspect.anatomy.roles.candidates import Candidate
from vlm_inspect.anatomy.roles.inputs_outputs import leads_to, quantizer_name, token_table
from vlm_inspect.core.architecture import ENCODERS, Role, Rule
from vlm_inspect.core.module_tree import is_below, parent_path

Found = tuple[Role, Rule, str]
"""A role, the kind of rule that gave it, and the evidence."""
RoleRule = Callable[[Candidate], Found | None]


class Family(Struct, frozen=True):
    """Exceptions: roles in one model class that no finder can derive, by module path."""

    model_class: str
    roles: Mapping[str, Role]
    reason: str


FAMILIES: tuple[Family, ...] = ()
"""The only place that names a model class."""


def _by_family(candidate: Candidate) -> Found | None:
    for family in FAMILIES:
        if family.model_class == candidate.tree.root.class_name and candidate.path in family.roles:
            return family.roles[candidate.path], "family", family.reason
    return None


def _by_accessor(candidate: Candidate) -> Found | None:
    """What `get_encoder` and `get_decoder` return, if it is plausible.

    `get_encoder` returns the model itself if it finds no encoder; a candidate is never the model. One
    result for images and audio is right for neither, and a lone embedding or Linear is not an encoder.
    """
    accessors = candidate.tree.accessors
    returned = {
        modality: accessors.get(f"get_encoder({modality})") for modality, _ in name_patterns.ENCODER_MODALITIES
    }
    is_plausible = returned["image"] != returned["audio"] and candidate.node.children
    for modality, role in name_patterns.ENCODER_MODALITIES if is_plausible else ():
        if returned[modality] == candidate.path:
            return role, "accessor", f'get_encoder(modality="{modality}") returned {candidate.path}'
    if accessors.get("get_decoder") == candidate.path and contains_attention(candidate.node):
        return Role.LANGUAGE_MODEL, "accessor", f"get_decoder() returned {candidate.path}"
    return None


def _by_quantizer(candidate: Candidate) -> Found | None:
    """A module with a quantizer turns images or sound into tokens, so it encodes them."""
    quantizer, taken = quantizer_name(candidate.node), candidate.input
    if quantizer is None or taken is None:
        return None
    return taken.encoder, "structure", f"{quantizer} makes tokens from the output of {taken.convolution}"


def _by_name(candidate: Candidate) -> Found | None:
    if name_patterns.GENERATOR.search(candidate.name):  # a talker as a whole, whatever its parts are called
        return Role.GENERATOR, "name", f"the name {candidate.name!r}"
    if candidate.is_wrapper or candidate.belongs_to_text:
        return None
    for role, pattern in name_patterns.ROLE_NAMES:
        if not pattern.search(candidate.name):
            continue
        if role is Role.LANGUAGE_MODEL and not candidate.can_be_language_model:
            continue
        if role in ENCODERS and not candidate.can_be_encoder:
            modality = "images" if role is Role.VISION_ENCODER else "audio"
            detail = f"named for {modality}, but without layers and without a convolution over {modality}"
            return Role.PROJECTOR, "structure", detail
        return role, "name", f"the name {candidate.name!r}"
    return None


def _by_class(candidate: Candidate) -> Found | None:
    if candidate.is_wrapper or candidate.belongs_to_text:
        return None
    class_name = candidate.node.class_name
    found = f"the class name {class_name}"
    if name_patterns.PROJECTOR_CLASS.search(class_name):
        return Role.PROJECTOR, "name", found
    if not contains_attention(candidate.node):
        return None
    if name_patterns.VISION_CLASS.search(class_name):
        return Role.VISION_ENCODER, "name", found
    return (Role.AUDIO_ENCODER, "name", found) if name_patterns.AUDIO_CLASS.search(class_name) else None


def _by_vocabulary(candidate: Candidate) -> Found | None:
    """An encoder with token embeddings of the text's size reads text; of another size, something else.

    T5's encoder has a copy of the text embedding (UDOP's too, which also has image patches); a protein
    encoder embeds amino acids.
    """
    table = token_table(candidate.node, candidate.path) if contains_attention(candidate.node) else None
    if table is None or candidate.backbone is None or candidate.is_wrapper:
        return None
    at, sizes = table
    if sizes == candidate.backbone.sizes:
        return Role.LANGUAGE_MODEL, "structure", f"{at} has the size of the text embedding"
    if "encoder" in candidate.name:
        detail = f"an encoder with a vocabulary other than the text's ({at}, {sizes[0]} entries)"
        return Role.OTHER, "structure", detail
    return None


def _by_structure(candidate: Candidate) -> Found | None:
    """A module that takes pixels or sound is an encoder if it has layers, else a projector."""
    taken = candidate.input
    if taken is None or candidate.is_wrapper or candidate.belongs_to_text:
        return None
    if candidate.has_layers:
        return taken.encoder, "structure", f"layers behind {taken.convolution}, which takes {taken.data}"
    return Role.PROJECTOR, "structure", f"{taken.convolution} takes {taken.data}, and no layers follow"


def _by_width(candidate: Candidate) -> Found | None:
    """A projection to the text width, outside of the text backbone (InternVL's `mlp1`)."""
    backbone, node, holder = candidate.backbone, candidate.node, parent_path(candidate.path)
    if backbone is None or holder == backbone.path or not is_below(backbone.path, holder):
        return None
    has_linear = any(linear_widths(leaf) for _, leaf in leaves(node, candidate.path))
    if has_linear and not candidate.has_layers and leads_to(node, backbone.width):
        return Role.PROJECTOR, "shape", f"no layers, and its output has the text width {backbone.width}"
    return None


ROLE_RULES: tuple[RoleRule, ...] = (
    _by_family,  # an exception for this model class
    _by_accessor,  # the model's own get_encoder() and get_decoder(), if plausible
    _by_quantizer,  # a quantizer inside: a codec, which encodes images or sound
    _by_name,  # the attribute's name, if the structure does not contradict it
    _by_class,  # the class name, for attributes with unusual names
    _by_vocabulary,  # the size of its token embedding: the text's, or another
    _by_structure,  # a convolution over pixels or sound, with or without layers behind it
    _by_width,  # a Linear to the text width
)


def find_role(candidate: Candidate) -> Found | None:
    """The result of the first finder that has one."""
    return next((found for finder in ROLE_RULES if (found := finder(candidate)) is not None), None)


def holds_parts(candidate: Candidate) -> bool:
    """Whether a module without a role is a wrapper of modules that have one."""
    if any(name.isdigit() for name, _ in candidate.node.children):
        return False
    return any(find_role(child) or child.is_wrapper for child in candidate.children())
