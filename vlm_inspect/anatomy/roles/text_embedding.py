"""Find the text embedding, or the text layers of a checkpoint that shows none.

The embedding is a module with a weight, a module of several tables of one width (Molmo's, Idefics'), or a bare
parameter (Moondream's).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from vlm_inspect.anatomy.layers.stacks import find_stacks
from vlm_inspect.anatomy.module_kinds import convolution_channels, embedding_sizes, linear_widths
from vlm_inspect.anatomy.roles import name_patterns
from vlm_inspect.anatomy.roles.inputs_outputs import norm_or_table_width, raw_input, stream_width
from vlm_inspect.core.module_tree import ModuleNode, ModuleTree, Shape, ancestors, join, last_name, parent_path

Sizes = tuple[int, int]
_MATRIX = 2
_POSITION = re.compile(r"pos")
_TEXT = re.compile(r"(^|_)(text|language|llm|lm|lang|decoder|transformer)(_|$)")
_VOCABULARY = ("vocab_size", "embedding_size", "padded_vocab_size", "n_vocab")
_WIDTHS = ("hidden_size", "d_model", "n_embd", "dim", "embed_dim", "lang_embedding_dim")


def find_text_embedding(tree: ModuleTree) -> tuple[str, Sizes] | None:
    """Path and (entries, width) of the text embedding: by accessor, by name, or by its size."""
    accessor = tree.accessors.get("get_input_embeddings")
    if accessor and (sizes := table_sizes(tree, accessor)):
        return accessor, sizes
    named = highest_named(tree, name_patterns.TEXT_EMBEDDINGS, lambda node: _module_sizes(node) is not None)
    path = named or _bare_table(tree) or _table_by_size(tree)
    sizes = table_sizes(tree, path) if path else None
    return (path, sizes) if path and sizes else None


def table_sizes(tree: ModuleTree, path: str) -> Sizes | None:
    """(entries, width) of the table at a path: of a module, its child, or a bare parameter.

    Of several tables of one width, the largest counts: the others have the added tokens.
    """
    node = tree.find(path)
    if node is not None:
        return _module_sizes(node)
    shape = tree.shapes_of({path}).get(path, ())
    return (shape[0], shape[1]) if len(shape) == _MATRIX else None


def text_tables(tree: ModuleTree, path: str, sizes: Sizes) -> Iterator[tuple[str, str, Sizes]]:
    """Path, class name and sizes of each table of the text embedding at a path, which has those sizes."""
    node = tree.find(path)
    tables = _own_tables(node) if node is not None and embedding_sizes(node) is None else []
    if len(tables) > 1:
        yield from ((join(path, name), "Parameter", own) for name, own in tables)
    else:
        yield path, node.class_name if node is not None else "Parameter", sizes


def _own_tables(node: ModuleNode) -> list[tuple[str, Sizes]]:
    """The matrices that a module holds as bare parameters, if it is no projection and they have one width."""
    if linear_widths(node) is not None or convolution_channels(node) is not None:
        return []
    found = [(name, shape) for name, shape in node.parameters if not _POSITION.search(name)]
    tables = [(name, (shape[0], shape[1])) for name, shape in found if len(shape) == _MATRIX]
    return tables if len(tables) == len(found) and len({width for _, (_, width) in tables}) == 1 else []


def highest_named(tree: ModuleTree, pattern: re.Pattern[str], fits: Callable[[ModuleNode], bool]) -> str | None:
    """The highest module with a matching name. A speech generator's embedding of its codes does not count."""
    named = (
        path
        for path, node in tree.root.walk()
        if pattern.search(last_name(path)) and fits(node) and not _is_generator(path)
    )
    return min(named, key=lambda path: path.count("."), default=None)


def text_layers_alone(tree: ModuleTree, head: str | None) -> tuple[str, Sizes] | None:
    """The path of the text layers, and (0, width), of a checkpoint whose text embedding was not found.

    They are the only layers that read no images and no sound, and something shows that they read text: the width
    of the head, that of a configuration with a vocabulary, or a name. A built model's accessors are complete.
    """
    if not tree.unknowns.classes:
        return None
    node = tree.find(head) if head else None
    width = (linear_widths(node) or (None,))[0] if node is not None else None
    widths = {width} if width else {sizes[1] for sizes in _configured_sizes(tree.config)}
    found = [
        (path, own)
        for path, stack in find_stacks(tree.root, "")
        if (own := _layer_width(stack)) is not None and _may_read_text(tree, path)
    ]
    by_width = [(path, own) for path, own in found if own in widths]
    by_name = [(path, own) for path, own in found if any(map(_TEXT.search, path.split(".")))]
    fitting = by_width or by_name
    return (fitting[0][0], (0, fitting[0][1])) if len(fitting) == 1 else None


def _module_sizes(node: ModuleNode) -> Sizes | None:
    """The sizes of an embedding module, of its largest bare table, or of its first child that is a table."""
    own = max((sizes for _, sizes in _own_tables(node)), default=None)
    below = (embedding_sizes(child) for _, child in node.children)
    return embedding_sizes(node) or own or next((sizes for sizes in below if sizes), None)


def _bare_table(tree: ModuleTree) -> str | None:
    """The highest bare matrix with an embedding's name."""
    named = (path for path, shape in _bare_matrices(tree) if name_patterns.TEXT_EMBEDDINGS.search(last_name(path)))
    return min(named, key=lambda path: path.count("."), default=None)


def _table_by_size(tree: ModuleTree) -> str | None:
    """The highest embedding or bare matrix of the size of the vocabulary, whatever its name is."""
    sizes = _configured_sizes(tree.config) if tree.unknowns.classes else ()
    modules = ((path, embedding_sizes(node)) for path, node in tree.root.walk() if not node.children)
    found = (path for path, own in (*modules, *_bare_matrices(tree)) if own in sizes and not _is_generator(path))
    return min(found, key=lambda path: path.count("."), default=None)


def _bare_matrices(tree: ModuleTree) -> Iterator[tuple[str, Shape]]:
    for path, node in tree.root.walk():
        if node.children and not _is_generator(path):
            yield from ((join(path, name), shape) for name, shape in node.parameters if len(shape) == _MATRIX)


def _configured_sizes(config: Mapping[str, Any]) -> set[Sizes]:
    """(vocabulary, width) of each configuration that states both."""
    parts = (config, *(part for part in config.values() if isinstance(part, Mapping)))
    return {
        (part[entries], part[width])
        for part in parts
        for entries in _VOCABULARY
        for width in _WIDTHS
        if type(part.get(entries)) is int and type(part.get(width)) is int
    }


def _may_read_text(tree: ModuleTree, stack: str) -> bool:
    """Whether neither a name nor an input shows that layers read images or sound, or only project them."""
    patterns = (*name_patterns.NON_TEXT, name_patterns.PROJECTOR, name_patterns.GENERATOR)
    if any(pattern.search(name) for pattern in patterns for name in stack.split(".")):
        return False
    for path in ancestors(parent_path(stack)):
        node = tree.find(path)
        if node is None or len(list(find_stacks(node, path))) > 1:
            break
        if raw_input(node, path) is not None:
            return False
    return True


def _layer_width(stack: ModuleNode) -> int | None:
    """The width of the layers' norms: without code, the last projection of a layer is not known."""
    norms = (norm_or_table_width(child) for _, layer in stack.children for _, child in layer.children)
    return next(filter(None, norms), None) or stream_width(stack)


def _is_generator(path: str) -> bool:
    return any(name_patterns.GENERATOR.search(name) for name in path.split("."))
