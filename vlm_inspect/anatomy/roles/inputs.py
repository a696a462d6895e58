"""What a module takes in, told by its first convolution or by its tables of tokens."""

from __future__ import annotations

from collections.abc import Iterator

from vlm_inspect.anatomy.leaves import convolution_channels, embedding_sizes, is_list
from vlm_inspect.anatomy.roles.kinds import kinds
from vlm_inspect.tree import ModuleNode, join

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
