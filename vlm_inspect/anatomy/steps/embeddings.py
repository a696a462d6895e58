"""How a component takes its input in: patches, sound, tokens and their positions, outside its layers."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator

from msgspec import Struct
from msgspec.structs import replace

from vlm_inspect.anatomy.layers.stacks import find_stacks
from vlm_inspect.anatomy.leaves import convolution_channels, embedding_sizes, leaves, linear_widths
from vlm_inspect.anatomy.steps.leaf import POSITION, leaf_stage, position_stage, position_table
from vlm_inspect.core.architecture import ConvStage, EmbeddingStage, LinearStage, OtherStage, Stage
from vlm_inspect.core.module_tree import ModuleNode, ModuleTree, is_below, join

_PLACE = re.compile(r"(embed|patch|pos_|position|pos$)", re.IGNORECASE)
_CLASS = re.compile(r"Embed")
_CODEBOOK = re.compile(r"(quanti[sz]e|codebook)")
# what is added to the text's tokens: their positions, and which of two sentences they are of
_ADDED = re.compile(r"(pos(ition)?s?(_|$)|token_type|segment)")
_MOST_CONVOLUTIONS = 8
_MOST_CHANNELS = 4  # red, green, blue and one more; sound has one


def embedding_stages(node: ModuleNode, path: str, without: Collection[str]) -> tuple[Stage, ...]:
    """How an encoder takes its input in: patch projection, stem and position tables, outside its layers."""
    stacks = [at for at, _ in find_stacks(node, path, without)]
    found = _Reader({*stacks, *without}, set(stacks)).read(node, path, inside=False)
    return tuple(found)


def text_stages(node: ModuleNode, path: str, table: str, without: Collection[str]) -> Iterator[Stage]:
    """What a language model adds to the embeddings of its tokens, beside the table of these."""
    for name, child in node.children:
        at = join(path, name)
        if at in without or at == table:
            continue
        if child.children:
            yield from text_stages(child, at, table, without)
        elif _ADDED.search(name) and embedding_sizes(child) is not None:
            stage = leaf_stage(child, at)
            if stage is not None:
                yield stage


class _Reader:
    """Walks through an encoder as it is declared; knows whether layers were passed, and input taken in."""

    def __init__(self, without: Collection[str], stacks: Collection[str]) -> None:
        self._without = without
        self._stacks = stacks
        self._passed = False
        self._begun = False

    def read(self, node: ModuleNode, path: str, *, inside: bool) -> Iterator[Stage]:
        if path in self._without or _CODEBOOK.search(path.rpartition(".")[2]):
            self._passed = self._passed or path in self._stacks
            return
        yield from _own_tables(node, path)
        for name, child in node.children:
            at = join(path, name)
            here = inside or bool(_PLACE.search(name) or _CLASS.search(child.class_name))
            # what comes before the layers takes the input in, whatever it is called
            here = here or (self._is_ahead(node, path) and self._takes_in(child, at))
            if child.children or at in self._without:
                yield from self.read(child, at, inside=here)
            elif here:
                yield from self._leaf(child, at)
        yield from self._behind(node, path)

    def _leaf(self, node: ModuleNode, path: str) -> Iterator[Stage]:
        stage = position_table(node, path) or leaf_stage(node, path)
        if not isinstance(stage, LinearStage | ConvStage | EmbeddingStage):
            return
        is_table = isinstance(stage, EmbeddingStage)
        if is_table or not self._passed:
            self._begun = self._begun or not is_table
            yield replace(stage, path=path)

    def _is_ahead(self, node: ModuleNode, path: str) -> bool:
        """Whether layers are still to come in this module."""
        below = [join(path, name) for name, _ in node.children]
        return not self._passed and any(is_below(stack, at) for stack in self._stacks for at in below)

    def _takes_in(self, node: ModuleNode, path: str) -> bool:
        """A Linear, or a stem of a few convolutions; more of them are layers of their own kind."""
        if any(is_below(stack, path) for stack in self._stacks):
            return False
        found = sum(convolution_channels(leaf) is not None for _, leaf in leaves(node, ""))
        return 0 < found <= _MOST_CONVOLUTIONS or linear_widths(node) is not None

    def _behind(self, node: ModuleNode, path: str) -> Iterator[Stage]:
        """A stem that is declared behind the layers: it begins with a convolution over pixels or sound."""
        written: int | None = None
        for name, child in node.children if self._passed and not self._begun else ():
            at = join(path, name)
            channels = convolution_channels(child)
            given = (channels or linear_widths(child) or (None,))[0]
            begins = channels is not None and channels[0] <= _MOST_CHANNELS
            follows = written is not None and given is not None and given % written == 0
            stage = leaf_stage(child, at) if at not in self._without and (begins or follows) else None
            written = stage.out_channels if isinstance(stage, ConvStage) else None
            if stage is not None:
                yield stage


def _own_tables(node: ModuleNode, path: str) -> Iterator[Stage]:
    """Position tables that a module holds as bare parameters."""
    is_table = bool(POSITION.search(path.rpartition(".")[2]))
    for name, shape in node.parameters:
        if node.children and (POSITION.search(name) or (is_table and len(shape) > 1)):
            yield position_stage(join(path, name), shape)


class Told(Struct, frozen=True):
    """What is told elsewhere."""

    parts: Collection[str]
    """Paths of stacks, and of components inside this one."""
    embeddings: Collection[str]
    again: Collection[str]
    """Parameters that are another one under a second name."""


def rest(
    tree: ModuleTree,
    nodes: Collection[tuple[str, ModuleNode]],
    parts: Collection[str],
    embedded: Collection[str],
) -> Iterator[Stage]:
    """What modules hold that is told nowhere else, in order: final norm, pooling head, tables per layer."""
    told = Told(parts, embedded, {path for group in tree.ties for path in group[1:]})
    for path, node in nodes:
        if node.children:
            yield from _outside(node, path, told)
        elif path not in embedded:
            yield from _whole(node, path, told)


def _outside(node: ModuleNode, path: str, told: Told) -> Iterator[Stage]:
    """The modules with parameters that are neither told elsewhere nor hold what is."""
    for name, child in node.children:
        at = join(path, name)
        if at in told.parts or at in told.embeddings or not child.total:
            continue
        if any(is_below(other, at) for other in (*told.parts, *told.embeddings)):
            yield from _outside(child, at, told)
        else:
            yield from _whole(child, at, told)


def _whole(node: ModuleNode, path: str, told: Told) -> Iterator[Stage]:
    """A module as one; nothing of one that is another under a second name."""
    own = sum(math.prod(shape) for at, shape in node.parameter_paths(path) if at not in told.again)
    if own:
        stage = leaf_stage(node, path) if not node.children else None
        yield replace(stage or OtherStage(node.class_name, path), parameters=own)
