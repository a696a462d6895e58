"""How large an image a vision encoder's positions are made for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vlm_inspect.anatomy.roles.kinds import kinds
from vlm_inspect.architecture import ConvStage, EmbeddingStage, Stage
from vlm_inspect.tree import ModuleNode

_MOST_EXTRA = 16  # class tokens and registers, which have positions too and are no patches
_PAIR = 2


def image_size(
    nodes: Sequence[ModuleNode], embeddings: Sequence[Stage], config: Mapping[str, Any]
) -> tuple[int, ...]:
    """Height and width in pixels: what the tower's own modules say, or else its configuration.

    Where the configuration says one size and the table of positions is made for another (Radio's 16384
    places, with an `image_size` of 224 that nothing reads), the table is believed.
    """
    for _, child in (pair for node in nodes for pair in kinds(node, "")):
        size = child.attribute("image_size", "img_size")
        if size is not None:
            return _pair(size)
    stated, patch = _pair(config.get("image_size")), _patch(embeddings, config)
    places = next(_places(embeddings), None)
    if not stated or patch is None or places is None:
        return stated
    made_for = math.prod(side // patch for side in stated)
    if made_for <= places <= made_for + _MOST_EXTRA:
        return stated
    side = math.isqrt(places)
    return (side * patch, side * patch) if side * side == places else ()


def _places(embeddings: Sequence[Stage]) -> Iterator[int]:
    """The entries of the tables of positions, the first first."""
    for stage in embeddings:
        if isinstance(stage, EmbeddingStage) and "pos" in stage.path.rpartition(".")[2]:
            yield stage.num_embeddings or 1


def _patch(embeddings: Sequence[Stage], config: Mapping[str, Any]) -> int | None:
    """The side of a patch in pixels: that of the convolution over the image, or as the configuration says."""
    seen = (
        stage.kernel_size[-1] for stage in embeddings if isinstance(stage, ConvStage) and stage.kernel_size
    )
    stated = config.get("patch_size")
    return next(seen, stated if isinstance(stated, int) and stated > 0 else None)


def _pair(size: object) -> tuple[int, ...]:
    if isinstance(size, int) and not isinstance(size, bool):
        return (size, size)
    if isinstance(size, (list, tuple)) and len(size) == _PAIR and all(isinstance(side, int) for side in size):
        return tuple(size)
    return ()
