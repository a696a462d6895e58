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
    own_words,
)
from vlm_inspect.anatomy.roles import name_patterns
from vlm_inspect.anatomy.roles.anchors import TextBackbone, is_text_section
from vlm_inspect.anatomy.roles.inputs_outputs import RawInput, encoder_of_modality, raw_input, token_table
from vlm_inspect.core.architecture import Role
from vlm_inspect.core.module_tree import ModuleNode, ModuleTree, is_below, join, last_name, parent_path


class Candidate(Struct, frozen=True, dict=True):
    """A module without a role, and what the rules may look at."""

    tree: ModuleTree
    path: str
    node: ModuleNode
    backbone: TextBackbone | None = None
    """None if the model has no text embedding."""
    reads_features: bool = True
    """Whether a language model of the model reads the features of its encoders."""

    @property
    def name(self) -> str:
        """The last name of the path."""
        return last_name(self.path)

    def children(self) -> list[Candidate]:
        """The children that have parameters."""
        return [
            Candidate(self.tree, join(self.path, name), child, self.backbone, self.reads_features)
            for name, child in self.node.children
            if child.total
        ]

    @cached_property
    def input(self) -> RawInput | None:
        """The pixels or the sound that a convolution at or below the module takes.

        A convolution of one channel takes grey pixels if the model reads images and no sound.
        """
        return raw_input(
            self.node, self.path, grey="image" in self.tree.modalities and "audio" not in self.tree.modalities
        )

    @property
    def class_name(self) -> str:
        """The part of the class name that says something of this module.

        In the text's own module the family's name says nothing: `SiglipEncoder` is a text encoder in
        `SiglipTextModel`.
        """
        holder = parent_path(self.path)
        if self.backbone is None or not is_below(self.backbone.embedding, holder):
            return self.node.class_name
        if is_text_section(self.tree, holder):
            return ""
        above = self.tree.find(holder) if is_below(holder, self.backbone.path) else None
        return own_words(self.node.class_name, above.class_name) if above is not None else self.node.class_name

    @property
    def embeds_tokens(self) -> bool:
        """Whether the module has an embedding of tokens."""
        return token_table(self.node, self.path) is not None

    @property
    def is_beside_text_encoder(self) -> bool:
        """Whether the module next to it, called encoder, has the text embedding: headers store a tied one once."""
        encoder = join(parent_path(self.path), "encoder")
        return self.backbone is not None and is_below(self.backbone.embedding, encoder)

    @property
    def in_text_model(self) -> bool:
        """Whether the model reads nothing but text, as far as its modules and its class say."""
        is_seen = raw_input(self.tree.root, "") is not None or bool(self.tree.missing_modules)
        return not is_seen and encoder_of_modality(self.tree) is None

    @property
    def can_be_tower(self) -> bool:
        """Whether the module takes the model's pixels or sound, if no language model reads the encoders' features.

        In such a model, modules behind the encoders are named for images, too.
        """
        if self.reads_features or self.input is not None:
            return True
        return self.in_text_model and self.has_layers

    @property
    def feeds_layers(self) -> bool:
        """Whether a later sibling has layers and is no tower: a fusion encoder, for example.

        The order is that of `forward`, or else the one in which the modules were made.
        """
        above = parent_path(self.path)
        holder = self.tree.find(above) or self.node
        siblings = {name: child for name, child in holder.children if child.total}
        used = [name for name in holder.forward_order if name in siblings]
        order = used if self.name in used else list(siblings)
        later = (
            Candidate(self.tree, join(above, name), siblings[name]) for name in order[order.index(self.name) + 1 :]
        )
        return any(
            each.has_layers and each.input is None and not each.embeds_tokens
            for each in later
            if each.name != self.name
        )

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
