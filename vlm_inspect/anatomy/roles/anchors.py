"""The two fixed points of a model with text: where tokens come in, and where they go out."""

from __future__ import annotations

from vlm_inspect.anatomy.layers.stacks import holds_stack, is_stack
from vlm_inspect.anatomy.leaves import (
    contains_attention,
    convolution_channels,
    embedding_sizes,
    leaves,
    linear_widths,
)
from vlm_inspect.anatomy.roles import names
from vlm_inspect.anatomy.roles.claims import Asked, Claim, TextHome
from vlm_inspect.core.architecture import Role
from vlm_inspect.core.module_tree import ModuleNode, ModuleTree, is_below


def text_embedding(tree: ModuleTree) -> str | None:
    """Where the text's tokens are embedded: not where a part that speaks embeds its codes."""
    answer = tree.accessors.get("get_input_embeddings")
    if answer and embedding_sizes_at(tree, answer):
        return answer
    named = [
        path
        for path, node in tree.root.walk()
        if names.TEXT_EMBEDDINGS.search(names.last(path)) and embedding_sizes(node) and not _generates(path)
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
        path = _whole_head(tree, answer, embedding)
        return Claim(Role.LM_HEAD, (path,), "accessor", f"get_output_embeddings() answered {answer}")
    named = [
        path
        for path, node in tree.root.walk()
        if names.HEADS.search(names.last(path)) and node.total and not _generates(path)
    ]
    if named:
        path = min(named, key=lambda path: path.count("."))
        return Claim(Role.LM_HEAD, (path,), "name", f"the name {names.last(path)!r}")
    return _head_by_shape(tree, embedding)


def _head_by_shape(tree: ModuleTree, embedding: str | None) -> Claim | None:
    """A Linear from the text's width to the vocabulary can only be the head."""
    sizes = embedding_sizes_at(tree, embedding) if embedding else None
    for path, node in tree.root.walk():
        if sizes and not node.children and linear_widths(node) == (sizes[1], sizes[0]):
            detail = f"a Linear from the text's width {sizes[1]} to its vocabulary {sizes[0]}"
            return Claim(Role.LM_HEAD, (_whole_head(tree, path, embedding),), "structure", detail)
    return None


def _whole_head(tree: ModuleTree, path: str, embedding: str | None) -> str:
    """What else the head holds around its Linear: BERT's transforms the hidden state first.

    From the Linear up, as long as the module above holds neither the text's embedding nor layers; one
    that adds no parameter is only a frame, and the head stays where it was.
    """
    whole = at = path
    while above := names.parent(at):
        node, inner = tree.find(above), tree.find(whole)
        if node is None or inner is None or (embedding and is_below(embedding, above)):
            break
        if holds_stack(node):
            break
        whole = above if node.total > inner.total else whole
        at = above
    return whole


def _generates(path: str) -> bool:
    return any(names.GENERATOR.search(name) for name in path.split("."))


def text_home(tree: ModuleTree) -> TextHome | None:
    """The lowest module that holds the text's embedding, and its layers outside of any other part.

    Its layers are a stack that is its child or its child's child (BERT's `encoder.layer`); a stack that
    lies deeper belongs to a part with a module of its own.
    """
    embedding = text_embedding(tree)
    sizes = embedding_sizes_at(tree, embedding) if embedding else None
    if embedding is None or sizes is None:
        return None
    path = embedding
    while path:
        path = names.parent(path)
        node = tree.find(path)
        if node is not None and _holds_text_layers(node):
            break
    return TextHome(path, embedding, sizes)


def is_texts_own(asked: Asked) -> bool:
    """A map beside the text's own layers that takes the text's width, or has no widths at all.

    Names like `projection` and `pool` are the text's too: per-layer embeddings are projected (Gemma),
    BERT pools. One that is named for another modality comes from there, whatever its width.
    """
    home, name = asked.home, asked.name
    if home is None or names.parent(asked.path) != home.path or contains_attention(asked.node):
        return False
    elsewhere = (names.VISION, names.AUDIO, names.ANOTHER_MODALITY)
    if any(pattern.search(text) for pattern in elsewhere for text in (name, asked.node.class_name)):
        return False
    below = [leaf for _, leaf in leaves(asked.node, "")]
    widths = (linear_widths(leaf) or convolution_channels(leaf) for leaf in below)
    given = next((pair[0] for pair in widths if pair), None)
    return given is None or given == home.sizes[1]


def _holds_text_layers(node: ModuleNode) -> bool:
    children = [child for _, child in node.children]
    return any(is_stack(child) for child in children) or any(
        is_stack(below) for child in children for _, below in child.children if not _takes_elsewhere(child)
    )


def _takes_elsewhere(child: ModuleNode) -> bool:
    patterns = (names.VISION_CLASS, names.AUDIO_CLASS, names.PROJECTOR_CLASS)
    return any(pattern.search(child.class_name) for pattern in patterns)
