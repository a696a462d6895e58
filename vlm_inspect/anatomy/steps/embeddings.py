"""How a component takes in its input (patches, sound, tokens, positions), and its other modules."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator

from msgspec.structs import replace

from vlm_inspect.anatomy.layers.stacks import find_stacks
from vlm_inspect.anatomy.leaves import convolution_channels, embedding_sizes, leaves, linear_widths
from vlm_inspect.anatomy.steps.leaf import (
    POSITION_NAME,
    embedding_stage,
    leaf_stage,
    position_stage,
    position_table,
)
from vlm_inspect.core.module_tree import ModuleNode, ModuleTree, is_below, join
from vlm_inspect.core.stages import ConvStage, EmbeddingStage, LinearStage, OtherStage, Stage

_EMBEDDING_NAME = re.compile(r"(embed|patch|pos_|position|pos$)", re.IGNORECASE)
_EMBEDDING_CLASS = re.compile(r"Embed")
_CODEBOOK_NAME = re.compile(r"(quanti[sz]e|codebook)")
# tables whose entries are added to the token embeddings
_ADDED_NAME = re.compile(r"(pos(ition)?s?(_|$)|token_type|segment)")
_MAX_STEM_CONVOLUTIONS = 8
_MAX_INPUT_CHANNELS = 4  # red, green, blue and one more; sound has one


# --- input ---


def embedding_stages(node: ModuleNode, path: str, without: Collection[str]) -> tuple[Stage, ...]:
    """How an encoder takes in its input: patch projection, stem, position tables."""
    stacks = {at for at, _ in find_stacks(node, path, without)}
    return tuple(_EmbeddingReader({*stacks, *without}, stacks).read(node, path, inside=False))


def text_stages(node: ModuleNode, path: str, table: str, without: Collection[str]) -> Iterator[Stage]:
    """The tables that a language model adds to its token embeddings, which are at the path `table`."""
    for name, child in node.children:
        at = join(path, name)
        if at in without or at == table:
            continue
        if child.children:
            yield from text_stages(child, at, table, without)
        elif _ADDED_NAME.search(name) and (sizes := embedding_sizes(child)) is not None:
            yield embedding_stage(child.class_name, at, sizes)


class _EmbeddingReader:
    """Reads an encoder in order of declaration; remembers whether layers and an input projection came."""

    def __init__(self, without: Collection[str], stacks: Collection[str]) -> None:
        self._without = without
        self._stacks = stacks
        self._passed_layers = False
        self._found_input = False

    def read(self, node: ModuleNode, path: str, *, inside: bool) -> Iterator[Stage]:
        """The stages at and below a node; `inside` a module that is named like an embedding."""
        if path in self._without or _CODEBOOK_NAME.search(path.rpartition(".")[2]):
            self._passed_layers = self._passed_layers or path in self._stacks
            return
        yield from _bare_position_tables(node, path)
        for name, child in node.children:
            at = join(path, name)
            is_embedding = _EMBEDDING_NAME.search(name) or _EMBEDDING_CLASS.search(child.class_name)
            # an input projection before the layers may have any name
            here = (
                inside
                or bool(is_embedding)
                or (self._has_layers_ahead(node, path) and self._is_stem(child, at))
            )
            if child.children or at in self._without:
                yield from self.read(child, at, inside=here)
            elif here:
                yield from self._read_leaf(child, at)
        yield from self._stem_after_layers(node, path)

    def _read_leaf(self, node: ModuleNode, path: str) -> Iterator[Stage]:
        stage = position_table(node, path) or leaf_stage(node, path)
        if not isinstance(stage, LinearStage | ConvStage | EmbeddingStage):
            return
        is_table = isinstance(stage, EmbeddingStage)
        if is_table or not self._passed_layers:
            self._found_input = self._found_input or not is_table
            yield replace(stage, path=path)

    def _has_layers_ahead(self, node: ModuleNode, path: str) -> bool:
        below = [join(path, name) for name, _ in node.children]
        return not self._passed_layers and any(is_below(stack, at) for stack in self._stacks for at in below)

    def _is_stem(self, node: ModuleNode, path: str) -> bool:
        """A Linear or a few convolutions; more of them are layers of their own."""
        if any(is_below(stack, path) for stack in self._stacks):
            return False
        convolutions = sum(convolution_channels(leaf) is not None for _, leaf in leaves(node, ""))
        return 0 < convolutions <= _MAX_STEM_CONVOLUTIONS or linear_widths(node) is not None

    def _stem_after_layers(self, node: ModuleNode, path: str) -> Iterator[Stage]:
        """A stem may be declared after the layers: it starts with a convolution over pixels or sound."""
        previous: int | None = None
        for name, child in node.children if self._passed_layers and not self._found_input else ():
            at = join(path, name)
            channels = convolution_channels(child)
            width = (channels or linear_widths(child) or (None,))[0]
            starts = channels is not None and channels[0] <= _MAX_INPUT_CHANNELS
            continues = previous is not None and width is not None and width % previous == 0
            stage = leaf_stage(child, at) if at not in self._without and (starts or continues) else None
            previous = stage.out_channels if isinstance(stage, ConvStage) else None
            if stage is not None:
                yield stage


def _bare_position_tables(node: ModuleNode, path: str) -> Iterator[Stage]:
    is_table = bool(POSITION_NAME.search(path.rpartition(".")[2]))
    for name, shape in node.parameters:
        if node.children and (POSITION_NAME.search(name) or (is_table and len(shape) > 1)):
            yield position_stage(join(path, name), shape)


# --- other modules ---


def other_modules(
    tree: ModuleTree,
    nodes: Collection[tuple[str, ModuleNode]],
    parts: Collection[str],
    embedded: Collection[str],
) -> Iterator[Stage]:
    """A component's modules that no other field describes: final norm, pooling head, per-layer tables.

    Args:
        tree: The model's modules.
        nodes: The component's modules, with their paths.
        parts: Paths of its stacks, and of components inside it.
        embedded: Paths of its embeddings.

    """
    known = (*parts, *embedded)
    tied = {path for group in tree.ties for path in group[1:]}
    for path, node in nodes:
        if node.children:
            yield from _undescribed(node, path, known, tied)
        elif path not in embedded:
            yield from _module_stage(node, path, tied)


def _undescribed(
    node: ModuleNode, path: str, known: Collection[str], tied: Collection[str]
) -> Iterator[Stage]:
    """The largest modules below a node that neither are known nor contain a known one."""
    for name, child in node.children:
        at = join(path, name)
        if at in known or not child.total:
            continue
        if any(is_below(other, at) for other in known):
            yield from _undescribed(child, at, known, tied)
        else:
            yield from _module_stage(child, at, tied)


def _module_stage(node: ModuleNode, path: str, tied: Collection[str]) -> Iterator[Stage]:
    """A whole module as one stage, unless all of its parameters are tied to others."""
    own = sum(math.prod(shape) for at, shape in node.parameter_paths(path) if at not in tied)
    if own:
        stage = leaf_stage(node, path) if not node.children else None
        yield replace(stage or OtherStage(node.class_name, path), parameters=own)
