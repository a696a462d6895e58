"""Where the text lives, and what there is its own."""

from __future__ import annotations

from vlm_inspect.anatomy.layers.stacks import is_stack
from vlm_inspect.anatomy.leaves import contains_attention, convolution_channels, leaves, linear_widths
from vlm_inspect.anatomy.roles import field_names as names
from vlm_inspect.anatomy.roles.anchors import embedding_sizes_at, text_embedding
from vlm_inspect.anatomy.roles.asked import Asked, TextHome
from vlm_inspect.tree import ModuleNode, ModuleTree


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
