"""Turns a module without children, or a bare parameter, into a stage."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from vlm_inspect.anatomy.layers.norms import read_norm
from vlm_inspect.anatomy.module_kinds import (
    convolution_channels,
    embedding_sizes,
    is_activation,
    is_norm,
    is_pooling,
    linear_widths,
)
from vlm_inspect.core.module_tree import ModuleNode, Shape, join
from vlm_inspect.core.stages import (
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

POSITION_NAME = re.compile(r"pos")
_QUERY_NAME = re.compile(r"(quer(y|ies)|latent|probe)")
# tokens between, before or after those of an image
_SEPARATOR_NAME = re.compile(r"(newline|separator|(^|_)(begin|end|sep|bos|eos)(_|$)|extensor)")


def leaf_stage(node: ModuleNode, path: str) -> Stage | None:
    """The stage of a single module; None for a module without parameters (dropout, rotary tables)."""
    sized = _sized_stage(node, path)
    if sized is not None:
        return sized
    if is_activation(node):
        return ActivationStage(node.class_name, path)
    if is_pooling(node):
        return PoolingStage(node.class_name, path, kernel_size=_kernel_size(node))
    if not node.parameters:
        return None
    return OtherStage(node.class_name, path, shape=max((shape for _, shape in node.parameters), key=len))


def parameter_stages(node: ModuleNode, path: str) -> Iterator[Stage]:
    """The position tables and matrices that a projector holds as bare parameters."""
    if linear_widths(node) is not None or not node.children:
        return
    for name, shape in node.parameters:
        if _QUERY_NAME.search(name) or _SEPARATOR_NAME.search(name):
            continue
        if POSITION_NAME.search(name) and len(shape) > 1:
            yield position_stage(join(path, name), shape)
        else:
            yield ParameterStage("Parameter", join(path, name), shape=shape)


def position_table(node: ModuleNode, path: str) -> EmbeddingStage | None:
    """The stage of a module that holds one bare position table."""
    tables = [pair for pair in node.parameters if POSITION_NAME.search(pair[0]) and len(pair[1]) > 1]
    if len(tables) != 1 or embedding_sizes(node) is not None:
        return None
    name, shape = tables[0]
    return position_stage(join(path, name), shape)


def position_stage(path: str, shape: Shape) -> EmbeddingStage:
    """The stage of a bare position table; dimensions of size 1 are dropped."""
    return embedding_stage("Parameter", path, tuple(size for size in shape if size != 1))


def embedding_stage(class_name: str, path: str, sizes: Sequence[int]) -> EmbeddingStage:
    """The stage of an embedding table; `sizes` are its entries (several numbers for a grid) and its width."""
    grid, width = (sizes[:-1], sizes[-1]) if len(sizes) > 1 else (sizes, None)
    return EmbeddingStage(
        class_name,
        path,
        num_embeddings=math.prod(grid) if grid else None,
        embedding_dim=width,
        grid=tuple(grid) if len(grid) > 1 else (),
    )


def learned_queries(node: ModuleNode) -> int | None:
    """The number of query tokens (latents) that a module holds as a parameter."""
    shapes = (shape for name, shape in node.parameters if _QUERY_NAME.search(name) and len(shape) > 1)
    return next((shape[-2] for shape in shapes), None)


def _sized_stage(node: ModuleNode, path: str) -> Stage | None:
    if (widths := linear_widths(node)) is not None:
        return LinearStage(node.class_name, path, in_features=widths[0], out_features=widths[1])
    if (channels := convolution_channels(node)) is not None:
        kernel, (inputs, outputs) = _kernel_size(node), channels
        return ConvStage(node.class_name, path, in_channels=inputs, out_channels=outputs, kernel_size=kernel)
    if is_norm(node):
        norm = read_norm("", node)
        return NormStage(node.class_name, path, width=norm.width or None, eps=norm.eps)
    sizes = embedding_sizes(node)
    return embedding_stage(node.class_name, path, sizes) if sizes is not None else None


def _kernel_size(node: ModuleNode) -> tuple[int, ...]:
    kernel = node.attribute("kernel_size")
    return kernel if isinstance(kernel, tuple) else (kernel,) if isinstance(kernel, int) else ()
