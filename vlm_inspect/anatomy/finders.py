"""What role a module has: an ordered list of finders, the most specific first.

The list is the specification: the first finder that answers wins, and its answer is the evidence.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from vlm_inspect.anatomy.families import role_by_family
from vlm_inspect.anatomy.leaves import contains_attention, convolution_channels
from vlm_inspect.architecture import Role, Rule
from vlm_inspect.tree import ModuleNode, ModuleTree, join


@dataclass(frozen=True, slots=True)
class Asked:
    """One module under question, and what the finders may look at."""

    tree: ModuleTree
    path: str
    node: ModuleNode

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition(".")[2]


Answer = tuple[Role, Rule, str]
Finder = Callable[[Asked], Answer | None]

_LANGUAGE = re.compile(r"^(language_model|text_model|text_decoder|decoder|llm|text_encoder)$")
_PROJECTOR = re.compile(
    r"(projector|projection|(^|_)proj$|connector|align|merger|adapter|resampler|bridge|abstractor|q_?former"
    r"|perceiver|(^|_)pool)",
    re.IGNORECASE,
)
_VISION = re.compile(r"(vision|visual|image|video|(^|_)(img|vit|vpm|pixel)(_|$))", re.IGNORECASE)
_AUDIO = re.compile(r"(audio|speech|sound|whisper)", re.IGNORECASE)
_GENERATOR = re.compile(r"(talker|token2wav|code2wav|vq_?model|generation|vocoder|codec)", re.IGNORECASE)
_VISION_CLASS = re.compile(r"(Vision|Visual|ViT|CLIP|Siglip|Swin|Image|Pixtral)")
_AUDIO_CLASS = re.compile(r"(Audio|Speech|Whisper|Conformer)")
_PROJECTOR_CLASS = re.compile(
    r"(Projector|Projection|Connector|Aligner|Merger|Adapter|Resampler|QFormer|Perceiver)"
)
_IMAGE_CHANNELS = 4


def ask(asked: Asked) -> Answer | None:
    """The first finder's answer."""
    return next((answer for finder in FINDERS if (answer := finder(asked)) is not None), None)


def holds_parts(tree: ModuleTree, path: str, node: ModuleNode) -> bool:
    """Whether an unclaimed module is only the wrapper of parts that would be claimed."""
    if any(name.isdigit() for name, _ in node.children):
        return False
    below = [Asked(tree, join(path, name), child) for name, child in node.children if child.total]
    return any(ask(asked) or _wrapper(asked) for asked in below)


def _by_family(asked: Asked) -> Answer | None:
    found = role_by_family(asked.tree.root.class_name, asked.path)
    return (found[0], "family", found[1]) if found else None


def _wrapper(asked: Asked) -> bool:
    """A module that holds both a tower and its projector is neither (Phi-3-vision's, Phi-4's)."""
    names = [(name, child) for name, child in asked.node.children if child.total]
    projector = any(_PROJECTOR.search(name) for name, _ in names)
    tower = any(
        contains_attention(child)
        and not _PROJECTOR.search(name)
        and (_VISION.search(name) or _AUDIO.search(name))
        for name, child in names
    )
    return projector and tower


def _by_accessor(asked: Asked) -> Answer | None:
    """What the model's own accessors say.

    `get_encoder` answers with the model itself where it finds no encoder: such an answer lies on the
    text spine and is never asked about here.
    """
    if _wrapper(asked):
        return None
    roles = (("image", Role.VISION_ENCODER), ("video", Role.VISION_ENCODER), ("audio", Role.AUDIO_ENCODER))
    for modality, role in roles:
        if asked.tree.accessors.get(f"get_encoder({modality})") == asked.path and _is_encoder(asked):
            return role, "accessor", f'get_encoder(modality="{modality}") answered {asked.path}'
    if asked.tree.accessors.get("get_decoder") == asked.path and contains_attention(asked.node):
        return Role.LANGUAGE_MODEL, "accessor", f"get_decoder() answered {asked.path}"
    return None


def _by_name(asked: Asked) -> Answer | None:
    if _wrapper(asked):
        return None
    for role, names in _ROLE_NAMES:
        match = names.search(asked.name)
        if match is None or (role is Role.LANGUAGE_MODEL and not _is_language(asked)):
            continue
        if role is Role.VISION_ENCODER and not _is_encoder(asked):
            return (
                Role.PROJECTOR,
                "structure",
                "named for images, and without layers: it only maps to the text's width",
            )
        return role, "name", f"the name {asked.name!r}"
    return None


def _by_class(asked: Asked) -> Answer | None:
    if _wrapper(asked):
        return None
    name = asked.node.class_name
    if _PROJECTOR_CLASS.search(name):
        return Role.PROJECTOR, "name", f"the class name {name}"
    if contains_attention(asked.node):
        if _VISION_CLASS.search(name):
            return Role.VISION_ENCODER, "name", f"the class name {name}"
        if _AUDIO_CLASS.search(name):
            return Role.AUDIO_ENCODER, "name", f"the class name {name}"
    return None


def _by_structure(asked: Asked) -> Answer | None:
    if not _wrapper(asked) and contains_attention(asked.node) and (patch := _patch_convolution(asked)):
        return Role.VISION_ENCODER, "structure", f"layers of attention behind {patch}, which takes pixels"
    return None


FINDERS: tuple[Finder, ...] = (
    _by_family,  # what is really odd, stated
    _by_accessor,  # what the model says of itself, checked
    _by_name,  # what the field calls its parts
    _by_class,  # what the class is called, where the attribute has a name of its own
    _by_structure,  # what it is made of
)

_ROLE_NAMES = (
    (Role.PROJECTOR, _PROJECTOR),  # first: `vision_projection` is named for both
    (Role.AUDIO_ENCODER, _AUDIO),
    (Role.GENERATOR, _GENERATOR),
    (Role.VISION_ENCODER, _VISION),
    (Role.LANGUAGE_MODEL, _LANGUAGE),
)


def _is_encoder(asked: Asked) -> bool:
    """Layers of attention, or a convolution over pixels: more than a map from width to width."""
    return contains_attention(asked.node) or _patch_convolution(asked) is not None


def _is_language(asked: Asked) -> bool:
    return contains_attention(asked.node) and _patch_convolution(asked) is None


def _patch_convolution(asked: Asked) -> str | None:
    for path, node in asked.node.walk(asked.path):
        channels = convolution_channels(node)
        kernel = node.attribute("kernel_size")
        if channels and channels[0] <= _IMAGE_CHANNELS and isinstance(kernel, tuple) and len(kernel) > 1:
            return path
    return None
