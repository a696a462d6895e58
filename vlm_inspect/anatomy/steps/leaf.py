"""A single module, or a bare parameter, as a step."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from vlm_inspect.anatomy.layers.norms import read_norm
from vlm_inspect.anatomy.leaves import (
    convolution_channels,
    embedding_sizes,
    is_activation,
    is_norm,
    is_pooling,
    linear_widths,
)
from vlm_inspect.core.architecture import (
    ActivationStage,
    ConvStage,
    EmbeddingStage,
    LinearStage,
    NormStage,
    OtherStage,
    ParameterStage,
    PoolingStage,
    Stage,
)
from vlm_inspect.core.module_tree import ModuleNode, Shape, join

POSITION = re.compile(r"pos")
_QUERIES = re.compile(r"(quer(y|ies)|latent|probe)")
# put between, before or behind the tokens of an image; nothing goes through them
_SEPARATOR = re.compile(r"(newline|separator|(^|_)(begin|end|sep|bos|eos)(_|$)|extensor)")


def leaf_stage(node: ModuleNode, path: str) -> Stage | None:
    """A single module as a step; None for those that change nothing (dropout, rotary tables)."""
    sized = _sized_stage(node, path)
    if sized is not None:
        return sized
    if is_activation(node):
        return ActivationStage(node.class_name, path)
    if is_pooling(node):
        return PoolingStage(node.class_name, path, kernel_size=_kernel(node))
    return OtherStage(node.class_name, path, shape=_largest(node)) if node.parameters else None


def parameter_stages(node: ModuleNode, path: str) -> Iterator[Stage]:
    """What a projector holds itself: tables of positions and matrices; no queries and no separators."""
    if linear_widths(node) is not None or not node.children:
        return
    for name, shape in node.parameters:
        if _QUERIES.search(name) or _SEPARATOR.search(name):
            continue
        if POSITION.search(name) and len(shape) > 1:
            yield position_stage(join(path, name), shape)
        else:
            yield ParameterStage("Parameter", join(path, name), shape=shape)


def position_table(node: ModuleNode, path: str) -> EmbeddingStage | None:
    """A module that holds a bare table of positions and nothing else."""
    tables = [(name, shape) for name, shape in node.parameters if POSITION.search(name) and len(shape) > 1]
    if len(tables) != 1 or embedding_sizes(node) is not None:
        return None
    name, shape = tables[0]
    return position_stage(join(path, name), shape)


def position_stage(path: str, shape: Shape) -> EmbeddingStage:
    """A bare table of positions: its sides but those of one, and the width."""
    return embedding_stage("Parameter", path, tuple(side for side in shape if side != 1))


def embedding_stage(class_name: str, path: str, sizes: Sequence[int]) -> EmbeddingStage:
    """A table, from its entries (several sides where it is a grid) and their width."""
    grid, width = (sizes[:-1], sizes[-1]) if len(sizes) > 1 else (sizes, None)
    return EmbeddingStage(
        class_name,
        path,
        num_embeddings=math.prod(grid) if grid else None,
        embedding_dim=width,
        grid=tuple(grid) if len(grid) > 1 else (),
    )


def learned_queries(node: ModuleNode) -> int | None:
    """How many query tokens (latents) a module has learned: the second last side of its own parameter."""
    return next(
        (shape[-2] for name, shape in node.parameters if _QUERIES.search(name) and len(shape) > 1), None
    )


def _sized_stage(node: ModuleNode, path: str) -> Stage | None:
    """A module that has widths, channels or entries."""
    if (widths := linear_widths(node)) is not None:
        return LinearStage(node.class_name, path, in_features=widths[0], out_features=widths[1])
    if (channels := convolution_channels(node)) is not None:
        given, made = channels
        return ConvStage(
            node.class_name, path, in_channels=given, out_channels=made, kernel_size=_kernel(node)
        )
    if is_norm(node):
        norm = read_norm("", node)
        return NormStage(node.class_name, path, width=norm.width or None, eps=norm.eps)
    sizes = embedding_sizes(node)
    return embedding_stage(node.class_name, path, sizes) if sizes is not None else None


def _kernel(node: ModuleNode) -> tuple[int, ...]:
    kernel = node.attribute("kernel_size")
    return kernel if isinstance(kernel, tuple) else (kernel,) if isinstance(kernel, int) else ()


def _largest(node: ModuleNode) -> tuple[int, ...]:
    return max((shape for _, shape in node.parameters), key=len)
