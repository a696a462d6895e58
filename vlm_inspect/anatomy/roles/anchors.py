"""The two modules from which roles are found: the text embedding and the LM head."""

from __future__ import annotations

from msgspec import Struct

from vlm_inspect.anatomy.layers.stacks import contains_stack, is_stack
from vlm_inspect.anatomy.module_kinds import linear_widths, own_words
from vlm_inspect.anatomy.roles import name_patterns
from vlm_inspect.anatomy.roles.assignments import RoleAssignment
from vlm_inspect.anatomy.roles.inputs_outputs import pixel_convolution
from vlm_inspect.anatomy.roles.text_embedding import find_text_embedding, highest_named, text_layers_alone
from vlm_inspect.core.architecture import Role
from vlm_inspect.core.module_tree import ModuleNode, ModuleTree, is_below, last_name, parent_path


class TextBackbone(Struct, frozen=True):
    """The lowest module that contains the text embedding and the text layers."""

    path: str
    embedding: str
    """Path of the text embedding: a module or a bare parameter. Without one, that of the text layers."""
    sizes: tuple[int, int]
    """(entries, width) of the text embedding; 0 entries without one."""

    @property
    def has_embedding(self) -> bool:
        """Whether the text embedding was found."""
        return self.sizes[0] > 0

    @property
    def width(self) -> int:
        """The width of the text embedding."""
        return self.sizes[1]


def text_backbone(tree: ModuleTree) -> TextBackbone | None:
    """The text backbone, or None for a model without a text embedding.

    Its layers are a stack that is its child or grandchild (BERT's `encoder.layer`). A deeper stack belongs
    to another part. Of a checkpoint without an embedding, only text layers that are certain count.
    """
    if tree.modalities == ("image",) and pixel_convolution(tree.root, "") is None:
        return None  # its tokens are pixels (ImageGPT)
    found = find_text_embedding(tree) or text_layers_alone(tree, _named_head(tree))
    if found is None:
        return None
    embedding, sizes = found
    path = embedding
    while path:
        path = parent_path(path)
        node = tree.find(path)
        if node is not None and _holds_text_layers(tree, path, node):
            break
    return TextBackbone(path, embedding, sizes)


def is_text_section(tree: ModuleTree, path: str) -> bool:
    """Whether the names on a path, or the type of the configuration at it, say that it reads text.

    A class name says less: the towers of a dual encoder can share one (`SiglipEncoder`).
    """
    names = (*path.split("."), str(tree.config_at(path).get("model_type")))
    other = (name_patterns.VISION, name_patterns.AUDIO)
    return any(
        name_patterns.TEXT.search(name) and not any(pattern.search(name) for pattern in other) for name in names
    )


def find_lm_head(tree: ModuleTree, backbone: TextBackbone | None) -> RoleAssignment | None:
    """The LM head: by accessor if that returns a Linear, else by name, else by shape."""
    accessor = tree.accessors.get("get_output_embeddings")
    node = tree.find(accessor) if accessor else None
    if accessor and node is not None and linear_widths(node):
        paths = (_whole_head(tree, accessor, backbone),)
        return RoleAssignment(Role.LM_HEAD, paths, "accessor", f"get_output_embeddings() returned {accessor}")
    named = _named_head(tree)
    if named is not None:
        return RoleAssignment(Role.LM_HEAD, (named,), "name", f"the name {last_name(named)!r}")
    return _head_by_shape(tree, backbone) if backbone is not None else None


def _named_head(tree: ModuleTree) -> str | None:
    return highest_named(tree, name_patterns.HEADS, lambda node: node.total > 0)


def _holds_text_layers(tree: ModuleTree, path: str, node: ModuleNode) -> bool:
    non_text = (name_patterns.VISION_CLASS, name_patterns.AUDIO_CLASS, name_patterns.PROJECTOR_CLASS)
    in_text = is_text_section(tree, path)
    for _, child in node.children:
        class_name = own_words(child.class_name, node.class_name)
        is_text = in_text or not any(pattern.search(class_name) for pattern in non_text)
        if is_stack(child) or (is_text and any(is_stack(below) for _, below in child.children)):
            return True
    return False


def _head_by_shape(tree: ModuleTree, backbone: TextBackbone) -> RoleAssignment | None:
    """A Linear from the text width to the vocabulary can only be the LM head."""
    entries, width = backbone.sizes
    for path, node in tree.root.walk():
        if not node.children and linear_widths(node) == (width, entries):
            detail = f"a Linear from the text width {width} to the vocabulary {entries}"
            return RoleAssignment(Role.LM_HEAD, (_whole_head(tree, path, backbone),), "structure", detail)
    return None


def _whole_head(tree: ModuleTree, path: str, backbone: TextBackbone | None) -> str:
    """The path of the whole head around its last Linear: BERT's transforms the hidden state first.

    Goes up until a module contains the text embedding or layers. A module that adds no parameters is only a
    wrapper and does not count.
    """
    whole = at = path
    while at := parent_path(at):
        node, inner = tree.find(at), tree.find(whole)
        if node is None or inner is None or contains_stack(node):
            break
        if backbone is not None and is_below(backbone.embedding, at):
            break
        whole = at if node.total > inner.total else whole
    return whole
