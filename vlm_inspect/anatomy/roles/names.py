"""What the field calls its parts: the names of attributes and classes that the finders know."""

from __future__ import annotations

import re
from collections.abc import Iterator

from vlm_inspect.anatomy.layers.stacks import kinds
from vlm_inspect.anatomy.leaves import convolution_channels, embedding_sizes, is_list
from vlm_inspect.core.module_tree import ModuleNode, join

TEXT_EMBEDDINGS = re.compile(r"^(embed_tokens|word_embeddings|wte|tok_embeddings|embed_in|shared)$")
HEADS = re.compile(r"^(lm_head|embed_out|output_projection)$")

LANGUAGE = re.compile(r"^(language_model|text_model|text_decoder|decoder|llm|text_encoder)$")
LANGUAGE_MODULES = re.compile(r"^(language_model|text_model|text_decoder|llm)$")
"""Those of them that hold a whole language model, its head at most beside it."""

PROJECTOR = re.compile(
    r"(projector|projection|(^|_)proj(_|\d|$)|connector|align|merger|adapter|resampler|bridge|abstractor"
    r"|q_?former|perceiver|(^|_)pool)",
    re.IGNORECASE,
)
VISION = re.compile(r"(vision|visual|image|video|(^|_)(img|vit|vpm|pixel)(_|$))", re.IGNORECASE)
AUDIO = re.compile(r"(audio|speech|sound|whisper|acoustic|(^|_)(voice|mel|wav)(_|$))", re.IGNORECASE)
# the last three make a robot's actions: output that is no text, made step by step as images and speech are
GENERATOR = re.compile(
    r"(talker|token2wav|code2wav|vocoder|(^|_)generation(_|$)|(^|_)(dit|action|diffusion)(_|$))",
    re.IGNORECASE,
)
QUANTISER = re.compile(r"(quanti[sz]|codebook)", re.IGNORECASE)
ANOTHER_MODALITY = re.compile(r"(mm_|modal)", re.IGNORECASE)
"""Names that say of a map that it comes from elsewhere, and not whence."""

VISION_CLASS = re.compile(r"(Vision|Visual|ViT|CLIP|Siglip|Swin|Image|Pixtral)")
AUDIO_CLASS = re.compile(r"(Audio|Speech|Whisper|Conformer)")
PROJECTOR_CLASS = re.compile(
    r"(Projector|Projection|Connector|Aligner|Merger|Adapter|Resampler|QFormer|Perceiver)"
)


def last(path: str) -> str:
    """The last name of a path: `model.visual.merger` → `merger`."""
    return path.rpartition(".")[2]


def parent(path: str) -> str:
    """The path without its last name; the root's is empty."""
    return path.rpartition(".")[0]


_PIXEL_CHANNELS = frozenset({3, 4})
_FEWEST_TOKENS = 16  # fewer are kinds of tokens (BERT's two segments), not a vocabulary
_PLANE = 2


def pixel_convolution(node: ModuleNode, path: str) -> str | None:
    """The convolution over an image (red, green, blue, and at most one channel more) at or below a node."""
    for at, child in kinds(node, path):
        channels = convolution_channels(child)
        if channels and channels[0] in _PIXEL_CHANNELS and _dimensions(child) >= _PLANE:
            return at
    return None


def sound_convolution(node: ModuleNode, path: str) -> str | None:
    """The convolution over sound at or below a node: one channel, a wave's or a spectrogram's.

    An image has three channels; one alone is a plane of frequencies over time, or the wave itself.
    """
    for at, child in kinds(node, path):
        channels = convolution_channels(child)
        if channels and channels[0] == 1 and _dimensions(child):
            return at
    return None


def token_table(node: ModuleNode, path: str) -> tuple[str, tuple[int, int]] | None:
    """The largest table of tokens at or below a node, and its (entries, width).

    No structure tells a table of tokens from one of positions, so its name must say it.
    """
    tables = [(at, sizes) for at, sizes in _tables(node, path) if sizes[0] > _FEWEST_TOKENS]
    return max(tables, key=lambda table: table[1][0], default=None)


def _tables(node: ModuleNode, path: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """The tables that are named for tokens, with their sizes; layers hold none and are not looked into."""
    for name, child in node.children if not is_list(node) else ():
        sizes = embedding_sizes(child)
        if sizes and ("word" in name or "token" in name):
            yield join(path, name), sizes
        yield from _tables(child, join(path, name))


def _dimensions(convolution: ModuleNode) -> int:
    kernel = convolution.attribute("kernel_size")
    return len(kernel) if isinstance(kernel, tuple) else 0
