"""A module without a role, with the properties that the rules test."""

from __future__ import annotations

from functools import cached_property

from msgspec import Struct

from vlm_inspect.anatomy.layers.stacks import contains_stack
from vlm_inspect.anatomy.module_kinds import (
    RECURRENT,
    contains_attention,
    convolution_channels,
    is_list,
    leaves,
    linear_widths,
)
from vlm_inspect.anatomy.roles import name_patterns
from vlm_inspect.anatomy.roles.anchors import TextBackbone
from vlm_inspect.anatomy.roles.inputs_outputs import RawInput, raw_input
from vlm_inspect.core.architecture import Role
from vlm_inspect.core.module_tree import ModuleNode, ModuleTree, join, last_name, parent_path


class Candidate(Struct, frozen=True, dict=True):
    """A module without a role, and what the rules may look at."""

    tree: ModuleTree
    path: str
    node: ModuleNode
    backbone: TextBackbone | None = None
    """None if the model has no text embedding."""

    @property
    def name(self) -> str:
        """The last name of the path."""
        return last_name(self.path)

    def children(self) -> list[Candidate]:
        """The children that have parameters."""
        return [
            Candidate(self.tree, join(self.path, name), child, self.backbone)
            for name, child in self.node.children
            if child.total
        ]

    @cached_property
    def input(self) -> RawInput | None:
        """The pixels or the sound that a convolution at or below the module takes."""
        return raw_input(self.node, self.path)

    @property
    def has_layers(self) -> bool:
        """Whether the module has attention, a recurrent network or a stack of layers."""
        is_recurrent = any(leaf.class_name in RECURRENT for _, leaf in leaves(self.node, ""))
        return contains_attention(self.node) or is_recurrent or contains_stack(self.node)

    @property
    def can_be_encoder(self) -> bool:
        """Whether the module is more than a map from one width to another."""
        return self.has_layers or self.input is not None

    @property
    def can_be_language_model(self) -> bool:
        """Whether the module has attention and takes no pixels."""
        takes_pixels = self.input is not None and self.input.encoder is Role.VISION_ENCODER
        return contains_attention(self.node) and not takes_pixels

    @cached_property
    def is_wrapper(self) -> bool:
        """Whether the module holds an encoder and its projector, or encoders of two modalities (Phi-4's).

        A child counts as an encoder only if it takes pixels or sound itself. A vision tower whose patches are
        embedded next to its transformer (Llama 4's) is one encoder, not a wrapper.
        """
        children = self.children()
        if any(child.name.isdigit() for child in children):
            return False
        if any(child.is_wrapper for child in children):
            return True
        has_projector = any(name_patterns.PROJECTOR.search(child.name) for child in children)
        inputs = {
            taken.encoder
            for child in children
            if not name_patterns.PROJECTOR.search(child.name)
            and not is_list(child.node)
            and contains_attention(child.node)
            and (taken := child.input)
        }
        return len(inputs) > 1 or bool(inputs and has_projector)

    @cached_property
    def belongs_to_text(self) -> bool:
        """Whether a module next to the text layers is part of the language model.

        Text models have projections and poolers, too: Gemma projects per-layer embeddings, BERT pools. Their
        input has the text width, or they have no widths at all. A name for another modality rules this out.
        """
        backbone, node = self.backbone, self.node
        if backbone is None or parent_path(self.path) != backbone.path or contains_attention(node):
            return False
        if any(pattern.search(name) for pattern in name_patterns.NON_TEXT for name in (self.name, node.class_name)):
            return False
        widths = (linear_widths(leaf) or convolution_channels(leaf) for _, leaf in leaves(node, ""))
        input_width = next((pair[0] for pair in widths if pair), None)
        return input_width is None or input_width == backbone.width
