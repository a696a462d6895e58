"""What role a module has: an ordered list of finders, the most specific first.

The list is the specification: the first finder that answers wins, and its answer is the evidence.
"""

from __future__ import annotations

from collections.abc import Callable

from vlm_inspect.anatomy.layers.stacks import holds_stack
from vlm_inspect.anatomy.leaves import contains_attention, is_list, leaves, linear_widths
from vlm_inspect.anatomy.roles import names
from vlm_inspect.anatomy.roles.anchors import is_texts_own
from vlm_inspect.anatomy.roles.claims import Answer, Asked, role_by_family
from vlm_inspect.anatomy.roles.inner import written_width
from vlm_inspect.anatomy.roles.names import pixel_convolution, sound_convolution, token_table
from vlm_inspect.core.architecture import ENCODERS, Role
from vlm_inspect.core.module_tree import ModuleNode, is_below


def is_wrapper(node: ModuleNode) -> bool:
    """Whether a module holds both a tower and its projector, or such modules (Phi-3-vision's, Phi-4's).

    A tower is told by what it takes in: a transformer whose patches are embedded beside it (Llama 4's)
    is none, and its module a tower as a whole.
    """
    children = [(name, child) for name, child in node.children if child.total]
    if any(name.isdigit() for name, _ in children):
        return False
    if any(is_wrapper(child) for _, child in children):
        return True
    taken_in = {name: taken for name, child in children if (taken := _takes_in(name, child))}
    projectors = [name for name, _ in children if names.PROJECTOR.search(name) and name not in taken_in]
    return bool(taken_in and projectors) or len(set(taken_in.values())) > 1


def _takes_in(name: str, node: ModuleNode) -> str | None:
    """What a tower takes in; None for what is no tower."""
    if is_list(node) or names.PROJECTOR.search(name) or not contains_attention(node):
        return None
    if pixel_convolution(node, name):
        return "pixels"
    return "sound" if sound_convolution(node, name) else None


Finder = Callable[[Asked], Answer | None]


def ask(asked: Asked) -> Answer | None:
    """The first finder's answer."""
    return next((answer for finder in FINDERS if (answer := finder(asked)) is not None), None)


def holds_parts(asked: Asked) -> bool:
    """Whether an unclaimed module is only the wrapper of parts that would be claimed."""
    if any(name.isdigit() for name, _ in asked.node.children):
        return False
    below = [asked.below(name, child) for name, child in asked.node.children if child.total]
    return any(ask(child) or is_wrapper(child.node) for child in below)


def _by_family(asked: Asked) -> Answer | None:
    found = role_by_family(asked.tree.root.class_name, asked.path)
    return (found[0], "family", found[1]) if found else None


def _by_accessor(asked: Asked) -> Answer | None:
    """What the model's own accessors say.

    `get_encoder` answers with the model itself where it finds no encoder: such an answer lies on the
    text spine and is never asked about here. One answer for images and for sound was made for neither.
    A lone table or Linear is no encoder whatever it is called.
    """
    answers = {modality: asked.tree.accessors.get(f"get_encoder({modality})") for modality, _ in _MODALITIES}
    told_apart = answers["image"] != answers["audio"]
    for modality, role in _MODALITIES if told_apart and asked.node.children else ():
        if answers[modality] == asked.path:
            return role, "accessor", f'get_encoder(modality="{modality}") answered {asked.path}'
    if asked.tree.accessors.get("get_decoder") == asked.path and contains_attention(asked.node):
        return Role.LANGUAGE_MODEL, "accessor", f"get_decoder() answered {asked.path}"
    return None


def _by_quantiser(asked: Asked) -> Answer | None:
    """A quantiser makes codes of images or of sound: its encoder half sees or hears."""
    quantiser = next(
        (
            name
            for name, child in asked.node.children
            if names.QUANTISER.search(name) or names.QUANTISER.search(child.class_name)
        ),
        None,
    )
    if quantiser is None:
        return None
    if pixel_convolution(asked.node, asked.path):
        return Role.VISION_ENCODER, "structure", f"{quantiser} makes tokens of what a convolution sees"
    if sound_convolution(asked.node, asked.path):
        return Role.AUDIO_ENCODER, "structure", f"{quantiser} makes tokens of what a convolution hears"
    return None


def _by_name(asked: Asked) -> Answer | None:
    if names.GENERATOR.search(asked.name):  # all of a talker speaks, whatever else its parts are called
        return Role.GENERATOR, "name", f"the name {asked.name!r}"
    if is_wrapper(asked.node) or is_texts_own(asked):
        return None
    for role, pattern in _ROLE_NAMES:
        if not pattern.search(asked.name):
            continue
        if role is Role.LANGUAGE_MODEL and not _is_language(asked):
            continue
        if role in ENCODERS and not _is_encoder(asked):
            modality = "images" if role is Role.VISION_ENCODER else "sound"
            detail = f"named for {modality}, and without layers or a convolution over them: a map, no encoder"
            return Role.PROJECTOR, "structure", detail
        return role, "name", f"the name {asked.name!r}"
    return None


def _by_class(asked: Asked) -> Answer | None:
    if is_wrapper(asked.node) or is_texts_own(asked):
        return None
    name = asked.node.class_name
    if names.PROJECTOR_CLASS.search(name):
        return Role.PROJECTOR, "name", f"the class name {name}"
    if contains_attention(asked.node):
        if names.VISION_CLASS.search(name):
            return Role.VISION_ENCODER, "name", f"the class name {name}"
        if names.AUDIO_CLASS.search(name):
            return Role.AUDIO_ENCODER, "name", f"the class name {name}"
    return None


def _by_vocabulary(asked: Asked) -> Answer | None:
    """An encoder with a table of tokens of its own reads text if the table is the text's, or something else.

    T5's encoder holds the text's table again (UDOP's too, which sees patches beside the words); a protein
    encoder holds a table of amino acids.
    """
    table = token_table(asked.node, asked.path) if contains_attention(asked.node) else None
    if table is None or asked.home is None or is_wrapper(asked.node):
        return None
    at, sizes = table
    if sizes == asked.home.sizes:
        return Role.LANGUAGE_MODEL, "structure", f"{at} is a table of the text's own vocabulary"
    if "encoder" in asked.name:
        detail = f"an encoder of another vocabulary than the text's: {at} has {sizes[0]} entries"
        return Role.OTHER, "structure", f"{detail}, and nothing in it takes pixels or sound"
    return None


def _by_structure(asked: Asked) -> Answer | None:
    """What takes pixels or sound in, and has layers, is an encoder; without layers it only maps."""
    if is_wrapper(asked.node) or is_texts_own(asked):
        return None
    pixels = pixel_convolution(asked.node, asked.path)
    heard = None if pixels else sound_convolution(asked.node, asked.path)
    at, role = (pixels, Role.VISION_ENCODER) if pixels else (heard, Role.AUDIO_ENCODER)
    if at is None:
        return None
    taken = "pixels" if pixels else "sound"
    if _has_layers(asked.node):
        return role, "structure", f"layers behind {at}, which takes {taken}"
    return (
        Role.PROJECTOR,
        "structure",
        f"{at} takes {taken} and no layer follows: straight to the text's width",
    )


def _by_width(asked: Asked) -> Answer | None:
    """A map that writes the text's width, outside of the text's own module (InternVL's `mlp1`)."""
    home, node, holder = asked.home, asked.node, names.parent(asked.path)
    if home is None or holder == home.path or not is_below(home.path, holder):
        return None
    is_map = any(linear_widths(leaf) for _, leaf in leaves(node, asked.path))
    if is_map and not _has_layers(node) and written_width(node) == home.sizes[1]:
        return Role.PROJECTOR, "shape", f"no layers, and it writes the text's width, {home.sizes[1]}"
    return None


FINDERS: tuple[Finder, ...] = (
    _by_family,  # what is really odd, stated
    _by_accessor,  # what the model says of itself, checked
    _by_quantiser,  # what makes tokens of images or sound
    _by_name,  # what the field calls its parts
    _by_class,  # what the class is called, where the attribute has a name of its own
    _by_vocabulary,  # whose tokens it reads
    _by_structure,  # what it is made of
    _by_width,  # whom it could write to
)

_ROLE_NAMES = (
    (Role.PROJECTOR, names.PROJECTOR),  # first: `vision_projection` is named for both
    (Role.AUDIO_ENCODER, names.AUDIO),
    (Role.VISION_ENCODER, names.VISION),
    (Role.LANGUAGE_MODEL, names.LANGUAGE),
)
_MODALITIES = (("image", Role.VISION_ENCODER), ("video", Role.VISION_ENCODER), ("audio", Role.AUDIO_ENCODER))


def _is_encoder(asked: Asked) -> bool:
    """Layers, or a convolution over pixels or sound: more than a map from width to width."""
    node, path = asked.node, asked.path
    return _has_layers(node) or bool(pixel_convolution(node, path) or sound_convolution(node, path))


def _has_layers(node: ModuleNode) -> bool:
    return contains_attention(node) or holds_stack(node)


def _is_language(asked: Asked) -> bool:
    return contains_attention(asked.node) and pixel_convolution(asked.node, asked.path) is None
