"""How a component takes in its input (patches, sound, tokens, positions), and its other modules."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator

from msgspec.structs import replace

from vlm_inspect.anatomy.layers.stacks import find_stacks
from vlm_inspect.anatomy.module_kinds import convolution_channels, embedding_sizes, leaves, linear_widths
from vlm_inspect.anatomy.stages.leaf import (
    POSITION_NAME,
    embedding_stage,
    leaf_stage,
    position_stage,
    position_table,
)
from vlm_inspect.core.module_tree import ModuleNode, ModuleTree, is_below, join, last_name
from vlm_inspect.core.stages import ConvStage, EmbeddingStage, LinearStage, OtherStage, Stage

_EMBEDDING_NAME = re.compile(r"(embed|patch|pos_|position|pos$)", re.IGNORECASE)
_EMBEDDING_CLASS = re.compile(r"Embed")
_CODEBOOK_NAME = re.compile(r"(quanti[sz]e|codebook)")
# tables whose entries are added to the token embeddings
_ADDED_NAME = re.compile(r"(pos(ition)?s?(_|$)|token_type|segment)")
_MAX_STEM_CONVOLUTIONS = 8
_MAX_INPUT_CHANNELS = 4  # red, green, blue and one more; sound has one


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
        if path in self._without or _CODEBOOK_NAME.search(last_name(path)):
            self._passed_layers = self._passed_layers or path in self._stacks
            return
        yield from _bare_position_tables(node, path)
        for name, child in node.children:
            at = join(path, name)
            is_embedding = _EMBEDDING_NAME.search(name) or _EMBEDDING_CLASS.search(child.class_name)
            # an input projection before the layers may have any name
            is_stem = self._has_layers_ahead(node, path) and self._is_stem(child, at)
            here = inside or bool(is_embedding) or is_stem
            if not child.is_leaf or at in self._without:
                yield from self.read(child, at, inside=here)
            elif here:
                yield from self._read_leaf(child, at)
        yield from self._stem_after_layers(node, path)

    def _read_leaf(self, node: ModuleNode, path: str) -> Iterator[Stage]:
        stage = position_table(node, path) or leaf_stage(node, path)
        if isinstance(stage, EmbeddingStage):
            yield replace(stage, path=path)
        elif isinstance(stage, LinearStage | ConvStage) and not self._passed_layers:
            self._found_input = True
            yield stage

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
    is_table = bool(POSITION_NAME.search(last_name(path)))
    for name, shape in node.parameters:
        if node.children and (POSITION_NAME.search(name) or (is_table and len(shape) > 1)):
            yield position_stage(join(path, name), shape)


def other_modules(
    tree: ModuleTree,
    nodes: Collection[tuple[str, ModuleNode]],
    parts: Collection[str],
    embedded: Collection[str],
) -> Iterator[Stage]:
    """A component's modules that no other field describes: final norm, pooling head, per-layer tables.

    `parts` are the paths of its stacks and of components inside it, `embedded` those of its embeddings.
    """
    tied = tree.tied_paths
    for top, holder in nodes:
        alone = [] if top in embedded else [(top, holder)]
        found = _undescribed(holder, top, (*parts, *embedded)) if holder.children else alone
        for path, node in found:
            # a module is left out if all of its parameters are tied to others
            own = sum(math.prod(shape) for at, shape in node.parameter_paths(path) if at not in tied)
            stage = leaf_stage(node, path) if own and node.is_leaf else None
            if own:
                yield replace(stage or OtherStage(node.class_name, path), parameters=own)


def _undescribed(node: ModuleNode, path: str, known: Collection[str]) -> Iterator[tuple[str, ModuleNode]]:
    """The largest modules below a node that neither are known nor contain a known one."""
    for name, child in node.children:
        at = join(path, name)
        if at in known or not child.total:
            continue
        if any(is_below(other, at) for other in known):
            yield from _undescribed(child, at, known)
        else:
            yield at, child
