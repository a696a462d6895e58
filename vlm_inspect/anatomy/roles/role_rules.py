"""What role does a module have? An ordered list of rules, from the most to the least reliable.

ROLE_RULES, at the end, is the specification: the first rule with a result wins, and the result is the
evidence. So a *projector* is a module with a projector's name or class name (`name_patterns.py`), one that takes
pixels or sound and has no layers, or one that maps to the text width outside of the text backbone.
`refine.py` and `inner_projectors.py` then merge projectors, drop some and find those inside encoders.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct

from vlm_inspect.anatomy.module_kinds import contains_attention, is_token_table, leaves, linear_widths
from vlm_inspect.anatomy.roles import name_patterns
from vlm_inspect.anatomy.roles.candidates import Candidate
from vlm_inspect.anatomy.roles.codecs import codec_input
from vlm_inspect.anatomy.roles.inputs_outputs import (
    encoder_of_modality,
    leads_to,
    output_width,
    quantizer_name,
    raw_input,
    token_table,
)
from vlm_inspect.anatomy.roles.task_heads import contrastive_parameters
from vlm_inspect.anatomy.stages.leaf import learned_queries
from vlm_inspect.core.architecture import ENCODER_MODALITIES, ENCODERS, Role, Rule
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
    returned = {modality: accessors.get(f"get_encoder({modality})") for modality, _ in ENCODER_MODALITIES}
    is_plausible = returned["image"] != returned["audio"] and candidate.node.children
    for modality, role in ENCODER_MODALITIES if is_plausible else ():
        if returned[modality] == candidate.path:
            return role, "accessor", f'get_encoder(modality="{modality}") returned {candidate.path}'
    # transformers returns the base model of a classifier, too
    is_text = candidate.embeds_tokens or candidate.in_text_model
    if accessors.get("get_decoder") == candidate.path and candidate.can_be_language_model and is_text:
        return Role.LANGUAGE_MODEL, "accessor", f"get_decoder() returned {candidate.path}"
    return None


def _by_quantizer(candidate: Candidate) -> Found | None:
    """A module with a quantizer turns images or sound into tokens, so it encodes them."""
    quantizer = quantizer_name(candidate.node)
    if quantizer is None:
        return None
    named = (role for role, pattern in name_patterns.ROLE_NAMES if role in ENCODERS and pattern.search(candidate.name))
    role, taken = next(named, None), codec_input(candidate)
    if taken is not None and (candidate.input is not None or role in {None, taken.encoder}):
        return taken.encoder, "structure", f"{quantizer} makes tokens from the output of {taken.convolution}"
    return (role, "structure", f"{quantizer} makes tokens, and the name {candidate.name!r}") if role else None


def _by_queries(candidate: Candidate) -> Found | None:
    """Learned queries that read features, not pixels or sound, and end at the text width: a resampler."""
    backbone, node = candidate.backbone, candidate.node
    is_generator = name_patterns.GENERATOR.search(candidate.name)
    if backbone is None or is_generator or candidate.input is not None or learned_queries(node) is None:
        return None
    if contains_attention(node) and output_width(node) == backbone.width and token_table(node, candidate.path) is None:
        return Role.PROJECTOR, "structure", f"learned queries, and its output has the text width {backbone.width}"
    return None


def _by_name(candidate: Candidate) -> Found | None:
    if name_patterns.GENERATOR.search(candidate.name):  # a talker as a whole, whatever its parts are called
        return Role.GENERATOR, "name", f"the name {candidate.name!r}"
    if candidate.is_wrapper or candidate.belongs_to_text:
        return None
    named = (role for role, pattern in name_patterns.ROLE_NAMES if pattern.search(candidate.name))
    role = next((role for role in named if _fits(candidate, role)), None)
    if role is Role.PROJECTOR and not candidate.reads_features:
        return _unread_projection(candidate)
    if role in ENCODERS and not candidate.can_be_encoder:
        return _without_layers(candidate, role)
    return (role, "name", f"the name {candidate.name!r}") if role is not None else None


def _fits(candidate: Candidate, role: Role) -> bool:
    """Whether nothing in a module contradicts the role that its name gives it."""
    is_decoder = name_patterns.DECODERS.search(candidate.name)
    if is_decoder and not candidate.embeds_tokens and not candidate.is_beside_text_encoder:
        return False  # of masks, boxes, pixels
    if role is Role.LANGUAGE_MODEL:
        return candidate.can_be_language_model
    if role is Role.PROJECTOR:
        return name_patterns.TASK_HEADS.search(candidate.name) is None
    return candidate.can_be_tower and (candidate.reads_features or candidate.can_be_encoder)


def _unread_projection(candidate: Candidate) -> Found | None:
    """A projection that no language model reads ends in features of its own, like those of a dual encoder."""
    if candidate.in_text_model or candidate.can_be_encoder:
        return None
    if candidate.feeds_layers and not contrastive_parameters(candidate.tree):
        return None
    return Role.TASK_HEAD, "structure", f"{candidate.name!r} projects features, and no language model reads them"


def _by_section(candidate: Candidate) -> Found | None:
    """An encoder with a configuration of its own: the type of that configuration."""
    section = candidate.tree.configs.get(candidate.path, {}).get("model_type")
    if not isinstance(section, str) or candidate.is_wrapper or not contains_attention(candidate.node):
        return None
    if not candidate.can_be_tower:
        return None
    for role, pattern in ((Role.VISION_ENCODER, name_patterns.VISION), (Role.AUDIO_ENCODER, name_patterns.AUDIO)):
        if pattern.search(section):
            return role, "config", f"its configuration has the type {section}"
    return None


def _without_layers(candidate: Candidate, encoder: Role) -> Found | None:
    """A module that is named for images or audio and has no layers is a projector, with two exceptions.

    Where no module takes such data, a table of the text width embeds codes, as the text's table embeds words.
    A Linear from the text width to another takes what the language model makes, and gives codes.
    """
    modality = "images" if encoder is Role.VISION_ENCODER else "audio"
    width = candidate.backbone.width if candidate.backbone is not None else None
    taken = raw_input(candidate.tree.root, "")
    if width and is_token_table(candidate.node, width) and (taken is None or taken.encoder is not encoder):
        return None
    widths = linear_widths(candidate.node)
    if widths is not None and widths[0] == width != widths[1]:
        detail = f"named for {modality}, and maps from the text width {width} to {widths[1]}"
        return Role.GENERATOR, "structure", detail
    detail = f"named for {modality}, but without layers and without a convolution over {modality}"
    return Role.PROJECTOR, "structure", detail


def _by_class(candidate: Candidate) -> Found | None:
    if candidate.is_wrapper or candidate.belongs_to_text:
        return None
    class_name = candidate.class_name
    found = f"the class name {candidate.node.class_name}"
    if name_patterns.PROJECTOR_CLASS.search(class_name):
        return (Role.PROJECTOR, "name", found) if candidate.reads_features else _unread_projection(candidate)
    if not contains_attention(candidate.node) or not candidate.can_be_tower:
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
    if not candidate.reads_features and name_patterns.DECODERS.search(candidate.name):
        return None  # it may take the pixels again, for the details of a mask
    if candidate.has_layers:
        return taken.encoder, "structure", f"layers behind {taken.convolution}, which takes {taken.data}"
    if not candidate.reads_features:
        return None
    return Role.PROJECTOR, "structure", f"{taken.convolution} takes {taken.data}, and no layers follow"


def _by_modality(candidate: Candidate) -> Found | None:
    """Layers of a model that reads one modality, by features instead of pixels or sound (spectrograms)."""
    tree = candidate.tree
    role = encoder_of_modality(tree)
    is_wrapped = name_patterns.TASK_CLASS.search(tree.root.class_name) and candidate.backbone is None
    if role is None or not is_wrapped or raw_input(tree.root, "") is not None or not candidate.has_layers:
        return None
    if name_patterns.DECODERS.search(candidate.name):
        return None
    return role, "attribute", f"layers, in a model that reads {' and '.join(tree.modalities)} alone"


def _by_width(candidate: Candidate) -> Found | None:
    """A projection to the text width, outside of the text backbone (InternVL's `mlp1`)."""
    backbone, node, holder = candidate.backbone, candidate.node, parent_path(candidate.path)
    if (
        backbone is None
        or not candidate.reads_features
        or holder == backbone.path
        or not is_below(backbone.path, holder)
    ):
        return None
    if name_patterns.TASK_HEADS.search(candidate.name):
        return None
    has_linear = any(linear_widths(leaf) for _, leaf in leaves(node, candidate.path))
    if has_linear and not candidate.has_layers and leads_to(node, backbone.width):
        return Role.PROJECTOR, "shape", f"no layers, and its output has the text width {backbone.width}"
    return None


def _by_head_name(candidate: Candidate) -> Found | None:
    """A module named for scores, classes or boxes; in a model without text output, also a decoder."""
    decodes = not candidate.reads_features and not candidate.in_text_model
    patterns = [name_patterns.TASK_HEADS] + [name_patterns.DECODERS] * decodes
    if name_patterns.HEADS.search(candidate.name) or not any(each.search(candidate.name) for each in patterns):
        return None
    is_spread = candidate.backbone is not None and not candidate.backbone.path
    if candidate.belongs_to_text and (not is_spread or candidate.name == "head"):
        return None  # a text tower's own projection
    return Role.TASK_HEAD, "name", f"the name {candidate.name!r}"


ROLE_RULES: tuple[RoleRule, ...] = (
    _by_family,  # an exception for this model class
    _by_accessor,  # the model's own get_encoder() and get_decoder(), if plausible
    _by_quantizer,  # a quantizer inside: a codec, which encodes images or sound
    _by_queries,  # learned queries between an encoder and the text: a resampler, whatever its name says
    _by_name,  # the attribute's name, if the structure does not contradict it
    _by_section,  # the type of the configuration that it was built from
    _by_class,  # the class name, for attributes with unusual names
    _by_vocabulary,  # the size of its token embedding: the text's, or another
    _by_structure,  # a convolution over pixels or sound, with or without layers behind it
    _by_modality,  # the only input that transformers declares
    _by_width,  # a Linear to the text width
    _by_head_name,  # a name for classes, boxes, scores
)


def find_role(candidate: Candidate) -> Found | None:
    """The result of the first finder that has one."""
    return next((found for finder in ROLE_RULES if (found := finder(candidate)) is not None), None)


def holds_parts(candidate: Candidate) -> bool:
    """Whether a module without a role is a wrapper of modules that have one."""
    if any(name.isdigit() for name, _ in candidate.node.children):
        return False
    if candidate.is_wrapper:
        return True
    found = [role for child in candidate.children() if (role := find_role(child))]
    if candidate.reads_features:
        return bool(found) or any(child.is_wrapper for child in candidate.children())
    return any(role in ENCODERS or role is Role.LANGUAGE_MODEL for role, _, _ in found)
