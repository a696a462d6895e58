"""What a module takes in (pixels, sound, tokens) and the width of its output, read from its layers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from msgspec import Struct

from vlm_inspect.anatomy.layers.norms import read_norm
from vlm_inspect.anatomy.layers.stacks import distinct_modules, last_stack
from vlm_inspect.anatomy.module_kinds import (
    convolution_channels,
    embedding_sizes,
    is_list,
    is_norm,
    linear_widths,
)
from vlm_inspect.anatomy.roles import name_patterns
from vlm_inspect.core.architecture import ENCODER_MODALITIES, Role
from vlm_inspect.core.module_tree import ModuleNode, ModuleTree, join

_PIXEL_CHANNELS = frozenset({3, 4})  # red, green, blue and at most one more
_SOUND_CHANNELS = frozenset({1})
_TEXT_TASKS = frozenset({"masked-lm", "sequence-classification"})
_MASK = re.compile(r"(^|[._])mask")
_SMALLEST_VOCABULARY = 17  # smaller tables are token types (BERT's two segments)


class RawInput(Struct, frozen=True):
    """The data that a module takes in by a convolution."""

    encoder: Role
    """The role that a module with this input has if it is an encoder."""
    data: str
    """`pixels` or `sound`."""
    convolution: str
    """Path of the convolution."""


def raw_input(node: ModuleNode, path: str, *, grey: bool = False) -> RawInput | None:
    """The pixels that a module takes, or else the sound (a waveform or a spectrogram); `grey` if that is an image."""
    if (pixels := pixel_convolution(node, path)) is not None:
        return RawInput(Role.VISION_ENCODER, "pixels", pixels)
    sound = _first_convolution(node, path, _SOUND_CHANNELS, fewest_dimensions=1)
    if sound is None:
        return None
    return RawInput(Role.VISION_ENCODER, "pixels", sound) if grey else RawInput(Role.AUDIO_ENCODER, "sound", sound)


def encoder_of_modality(tree: ModuleTree) -> Role | None:
    """The role of the encoder of a model that reads one modality, by what transformers says of its class.

    Needed where no convolution shows it: `Siglip2VisionModel` takes patches, `ParakeetForCTC` spectrograms.
    """
    if _TEXT_TASKS & set(tree.tasks):
        return None  # Perceiver's classes share one declaration
    roles = {role for modality, role in ENCODER_MODALITIES if modality in tree.modalities}
    return roles.pop() if len(roles) == 1 and "text" not in tree.modalities else None


def pixel_convolution(node: ModuleNode, path: str) -> str | None:
    """The path of the first convolution over an image at or below a node."""
    return _first_convolution(node, path, _PIXEL_CHANNELS, fewest_dimensions=2)


def quantizer_name(node: ModuleNode) -> str | None:
    """The name of the first child that is a quantizer, which makes codes of its input."""
    is_quantizer = name_patterns.QUANTIZER.search
    return next((key for key, child in node.children if is_quantizer(f"{key} {child.class_name}")), None)


def token_table(node: ModuleNode, path: str) -> tuple[str, tuple[int, int]] | None:
    """The largest token embedding at or below a node: its path and its (entries, width).

    Token and position embeddings have the same structure, so only the name tells them apart.
    """
    tables = [(at, sizes) for at, sizes in _token_tables(node, path) if sizes[0] >= _SMALLEST_VOCABULARY]
    return max(tables, key=lambda table: table[1][0], default=None)


def stream_width(node: ModuleNode) -> int | None:
    """The width of a tower's hidden states: the output width of the last projection in its last layer."""
    stack = last_stack(node)
    return last_linear_width(stack) if stack is not None else None


def output_width(node: ModuleNode) -> int | None:
    """The width of a module's output: that of its last norm, Linear or embedding."""
    return _last_width(node, lambda child: norm_or_table_width(child) or _linear_output(child))


def leads_to(node: ModuleNode, width: int) -> bool:
    """Whether a module's output has a width, and none of its Linears makes another one that no other takes.

    Between two Linears, the features of up to 4 x 4 patches may be joined.
    """
    widths = [pair for _, child in distinct_modules(node, "") if (pair := linear_widths(child))]
    taken = {width, *(given for given, _ in widths)}
    is_chain = all(taken & {made * side * side for side in range(1, 5)} for _, made in widths)
    return is_chain and output_width(node) == width


def last_linear_width(node: ModuleNode) -> int | None:
    """The output width of the last Linear at or below a node."""
    return _last_width(node, _linear_output)


def norm_or_table_width(node: ModuleNode) -> int | None:
    """The width of a norm or of an embedding table."""
    if is_norm(node):
        return read_norm("", node).width
    sizes = embedding_sizes(node)
    return sizes[1] if sizes else None


def _first_convolution(
    node: ModuleNode, path: str, in_channels: frozenset[int], *, fewest_dimensions: int
) -> str | None:
    for at, child in distinct_modules(node, path):
        if _MASK.search(at):  # a segmenter reads masks by convolutions of one channel or of few
            continue
        channels, kernel = convolution_channels(child), child.attribute("kernel_size")
        dimensions = len(kernel) if isinstance(kernel, tuple) else 0
        if channels and channels[0] in in_channels and dimensions >= fewest_dimensions:
            return at
    return None


def _token_tables(node: ModuleNode, path: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """The embeddings that are named for tokens. Lists of layers are skipped: they contain none."""
    for name, child in node.children if not is_list(node) else ():
        sizes = embedding_sizes(child)
        if sizes and ("word" in name or "token" in name):
            yield join(path, name), sizes
        yield from _token_tables(child, join(path, name))


def _linear_output(node: ModuleNode) -> int | None:
    return (linear_widths(node) or (None, None))[1]


def _last_width(node: ModuleNode, width: Callable[[ModuleNode], int | None]) -> int | None:
    below = (found for _, child in reversed(node.children) if (found := _last_width(child, width)))
    return next(below, None) or width(node)
