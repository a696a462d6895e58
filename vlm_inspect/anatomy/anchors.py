"""The two fixed points of a model with text: where tokens come in, and where they go out."""

from __future__ import annotations

import re

from vlm_inspect.anatomy.claims import Claim
from vlm_inspect.anatomy.leaves import embedding_sizes, linear_widths
from vlm_inspect.architecture import Role
from vlm_inspect.tree import ModuleTree

_TEXT_EMBEDDINGS = re.compile(r"^(embed_tokens|word_embeddings|wte|tok_embeddings|embed_in|shared)$")
_HEADS = re.compile(r"^(lm_head|embed_out|output_projection|codec_head)$")


def text_embedding(tree: ModuleTree) -> str | None:
    """Where the text's tokens are embedded."""
    answer = tree.accessors.get("get_input_embeddings")
    if answer and embedding_sizes_at(tree, answer):
        return answer
    named = [
        path
        for path, node in tree.root.walk()
        if _TEXT_EMBEDDINGS.search(path.rpartition(".")[2]) and embedding_sizes(node)
    ]
    return min(named, key=lambda path: path.count("."), default=None)


def embedding_sizes_at(tree: ModuleTree, path: str) -> tuple[int, int] | None:
    """(entries, width) of the embedding at a path, or of the table just below it."""
    node = tree.find(path)
    if node is None:
        return None
    below = (embedding_sizes(child) for _, child in node.children)
    return embedding_sizes(node) or next((sizes for sizes in below if sizes), None)


def find_head(tree: ModuleTree, embedding: str | None) -> Claim | None:
    """The LM head: the accessor's answer where it is a Linear, a well-known name, or the shape."""
    answer = tree.accessors.get("get_output_embeddings")
    node = tree.find(answer) if answer else None
    if answer and node is not None and linear_widths(node):
        return Claim(Role.LM_HEAD, (answer,), "accessor", f"get_output_embeddings() answered {answer}")
    named = [path for path, node in tree.root.walk() if _HEADS.search(path.rpartition(".")[2]) and node.total]
    if named:
        path = min(named, key=lambda path: path.count("."))
        return Claim(Role.LM_HEAD, (path,), "name", f"the name {path.rpartition('.')[2]!r}")
    return _head_by_shape(tree, embedding)


def _head_by_shape(tree: ModuleTree, embedding: str | None) -> Claim | None:
    """A Linear from the text's width to the vocabulary can only be the head."""
    sizes = embedding_sizes_at(tree, embedding) if embedding else None
    for path, node in tree.root.walk():
        if sizes and not node.children and linear_widths(node) == (sizes[1], sizes[0]):
            detail = f"a Linear from the text's width {sizes[1]} to its vocabulary {sizes[0]}"
            return Claim(Role.LM_HEAD, (path,), "structure", detail)
    return None
