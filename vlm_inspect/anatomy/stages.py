"""What an embedding, a projector or a head does, step by step."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import replace

from vlm_inspect.anatomy.leaves import (
    convolution_channels,
    embedding_sizes,
    is_activation,
    is_list,
    is_norm,
    is_pooling,
    leaves,
    linear_widths,
)
from vlm_inspect.anatomy.parts import read_mlp, read_norm
from vlm_inspect.anatomy.stacks import find_stacks
from vlm_inspect.architecture import Stage
from vlm_inspect.tree import ModuleNode, join

_MLP_CLASS = re.compile(r"(MLP|FeedForward|FFN)", re.IGNORECASE)
_QUERIES = re.compile(r"(quer(y|ies)|latent|probe)")
_EMBEDDING_PLACE = re.compile(r"(embed|patch|pos_|position|pos$)", re.IGNORECASE)
_EMBEDDING_CLASS = re.compile(r"Embed")
_POSITION = re.compile(r"pos")
_MLP_LINEARS = 2


def projector_stages(node: ModuleNode, path: str) -> tuple[Stage, ...]:
    """The steps of a projector, in the order in which its modules are declared."""
    own = [
        stage for stage in _own_parameters(node, path) if not _QUERIES.search(stage.path.rpartition(".")[2])
    ]
    steps = with_queries(tuple(_steps(node, path, is_root=True)), learned_queries(node))
    return tuple(_activation_between([*steps, *own]))


def with_queries(stages: tuple[Stage, ...], queries: int | None) -> tuple[Stage, ...]:
    """Query tokens that lie beside the block which reads them (a Q-Former's) go to the first block."""
    for index, stage in enumerate(stages):
        if queries and stage.kind == "block" and stage.queries is None:
            return (*stages[:index], replace(stage, queries=queries), *stages[index + 1 :])
    return stages


def leaf_stage(node: ModuleNode, path: str) -> Stage | None:
    """A single module as a step; None for those that change nothing (dropout, rotary tables)."""
    sized = _sized_stage(node, path)
    if sized is not None:
        return sized
    if is_activation(node):
        return Stage("activation", node.class_name, path)
    if is_pooling(node):
        return Stage("pooling", node.class_name, path, kernel=_kernel(node))
    return Stage("other", node.class_name, path, _largest(node)) if node.parameters else None


def _sized_stage(node: ModuleNode, path: str) -> Stage | None:
    """A module that has widths, channels or entries."""
    if (widths := linear_widths(node)) is not None:
        return Stage("linear", node.class_name, path, widths)
    if (channels := convolution_channels(node)) is not None:
        return Stage("convolution", node.class_name, path, channels, kernel=_kernel(node))
    if is_norm(node):
        norm = read_norm("", node)
        return Stage("norm", node.class_name, path, (norm.width,) if norm.width else (), eps=norm.eps)
    sizes = embedding_sizes(node)
    return Stage("embedding", node.class_name, path, sizes) if sizes is not None else None


def _kernel(node: ModuleNode) -> tuple[int, ...]:
    kernel = node.attribute("kernel_size")
    return kernel if isinstance(kernel, tuple) else (kernel,) if isinstance(kernel, int) else ()


def embedding_stages(node: ModuleNode, path: str, without: Collection[str]) -> tuple[Stage, ...]:
    """How an encoder takes its input in: patch projection and position tables, outside its layers."""
    stacks = {at for at, _ in find_stacks(node, path, without)}
    return tuple(_embeddings(node, path, {*stacks, *without}, inside=False))


def learned_queries(node: ModuleNode) -> int | None:
    """How many query tokens (latents) a module has learned: the second last side of its own parameter."""
    return next(
        (shape[-2] for name, shape in node.parameters if _QUERIES.search(name) and len(shape) > 1), None
    )


def _steps(node: ModuleNode, path: str, *, is_root: bool) -> Iterator[Stage]:
    if not node.children:
        stage = leaf_stage(node, path)
        if stage is not None:
            yield stage
        return
    stacked = list(find_stacks(node, path))
    if stacked and not _holds_projection_beside(node):
        count = sum(len(stack.children) for _, stack in stacked)
        yield Stage("block", node.class_name, path, layers=count, queries=learned_queries(node))
        return
    names = {name for name, _ in node.children}
    if _is_mlp(node, names) and not is_root:
        yield _mlp_stage(node, path)
        return
    gated = {"gate_proj", "up_proj", "down_proj"} <= names
    for name, child in node.children:
        if gated and name in {"gate_proj", "up_proj"}:
            continue
        if gated and name == "down_proj":
            yield _mlp_stage(node, path)
        elif not (gated and is_activation(child)):
            yield from _steps(child, join(path, name), is_root=False)


def _holds_projection_beside(node: ModuleNode) -> bool:
    """Whether Linears lie beside the stacks: then the node is a sequence of steps, not one block."""
    return any(
        not list(find_stacks(child, name)) and any(linear_widths(leaf) for _, leaf in leaves(child, name))
        for name, child in node.children
    )


def _is_mlp(node: ModuleNode, names: Collection[str]) -> bool:
    if is_list(node):
        return False
    linears = sum(1 for _, leaf in leaves(node, "") if linear_widths(leaf) is not None)
    return {"gate_proj", "up_proj", "down_proj"} <= set(names) or (
        linears >= _MLP_LINEARS and bool(_MLP_CLASS.search(node.class_name))
    )


def _mlp_stage(node: ModuleNode, path: str) -> Stage:
    mlp = read_mlp(node, {})
    widths = (mlp.input_width, mlp.hidden_width, mlp.output_width)
    return Stage("mlp", node.class_name, path, tuple(width for width in widths if width is not None))


def _activation_between(stages: list[Stage]) -> list[Stage]:
    """A lone activation that is declared before or after all Linears, put between them.

    Order of declaration is not order of use, and at either end it would do nothing that an MLP is for.
    """
    linears = [index for index, stage in enumerate(stages) if stage.kind == "linear"]
    lone = [index for index, stage in enumerate(stages) if stage.kind == "activation"]
    if len(lone) != 1 or len(linears) < _MLP_LINEARS or linears[0] < lone[0] < linears[-1]:
        return stages
    activation = stages.pop(lone[0])
    first = next(index for index, stage in enumerate(stages) if stage.kind == "linear")
    stages.insert(first + 1, activation)
    return stages


def _own_parameters(node: ModuleNode, path: str) -> Iterator[Stage]:
    if linear_widths(node) is not None or not node.children:
        return
    for name, shape in node.parameters:
        yield Stage("parameter", "Parameter", join(path, name), shape)


def _embeddings(node: ModuleNode, path: str, without: Collection[str], *, inside: bool) -> Iterator[Stage]:
    if path in without:
        return
    table = bool(_POSITION.search(path.rpartition(".")[2]))
    for name, shape in node.parameters:
        if node.children and (_POSITION.search(name) or (table and len(shape) > 1)):
            sizes = tuple(side for side in shape if side != 1)
            yield Stage("embedding", "Parameter", join(path, name), sizes)
    for name, child in node.children:
        at = join(path, name)
        here = inside or bool(_EMBEDDING_PLACE.search(name) or _EMBEDDING_CLASS.search(child.class_name))
        if child.children:
            yield from _embeddings(child, at, without, inside=here)
        elif here and at not in without:
            stage = leaf_stage(child, at)
            if stage is not None and stage.kind in {"linear", "convolution", "embedding"}:
                yield replace(stage, path=at)


def _largest(node: ModuleNode) -> tuple[int, ...]:
    return max((shape for _, shape in node.parameters), key=len)
