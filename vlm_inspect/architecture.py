"""Architecture: what a model is made of, as a typed record.

Three things are never mixed up. *Found* is a value. *Absent* is a part that the model does not have:
it is in no component, and `Architecture.absent` says so with its reason. *Unknown* is a part or a
value that could not be told: the value is None, and the `unknown` beside it holds the reason. A None
without a reason means that the question does not arise (a Linear has no layers).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

from vlm_inspect.ref import ModelIdentity

SCHEMA_VERSION = 1

Builder = Literal["transformers", "remote-code", "header", "config"]
Rule = Literal["family", "accessor", "name", "structure", "config", "shape", "attribute"]
StageKind = Literal[
    "linear",
    "activation",
    "norm",
    "convolution",
    "embedding",
    "parameter",
    "mlp",
    "pooling",
    "block",
    "other",
]
AttentionKind = Literal["multi-head", "grouped-query", "multi-query"]


class Role(str, Enum):
    """What a component is for. The contract fixes these names."""

    VISION_ENCODER = "vision_encoder"
    AUDIO_ENCODER = "audio_encoder"
    PROJECTOR = "projector"
    LANGUAGE_MODEL = "language_model"
    LM_HEAD = "lm_head"
    GENERATOR = "generator"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why a finding was made."""

    finding: str
    """What was found: `vision_encoder at model.vision_tower`."""
    rule: Rule
    """The kind of rule that found it; the first that answers wins, in the order family, accessor, name,
    structure."""
    detail: str
    """What the rule saw: `get_encoder(modality="image") answered model.vision_tower`."""


@dataclass(frozen=True, slots=True)
class Norm:
    """A normalisation layer."""

    class_name: str = ""
    """Empty where it is unknown."""
    width: int | None = None
    eps: float | None = None
    name: str = ""
    """Its name in the layer: `input_layernorm`."""
    unknown: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Attention:
    """A layer's attention."""

    class_name: str | None = None
    kind: AttentionKind | None = None
    heads: int | None = None
    key_value_heads: int | None = None
    head_width: int | None = None
    cross: bool = False
    """Whether it reads another sequence (the image, the encoder) than its own."""
    sliding_window: int | None = None
    """Tokens that it sees back, where it does not see all."""
    rotary: bool | None = None
    """Whether it turns queries and keys by their position; None where the module does not say."""
    unknown: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Experts:
    """The experts of a sparse MLP. Widths are those of one expert."""

    count: int
    per_token: int | None = None
    hidden_width: int | None = None
    shared: int | None = None


@dataclass(frozen=True, slots=True)
class Mlp:
    """A layer's feed-forward part."""

    class_name: str | None = None
    """None where the layer itself holds the two projections."""
    input_width: int | None = None
    hidden_width: int | None = None
    """The width that reaches the down projection: half of a fused gate and up projection."""
    output_width: int | None = None
    gated: bool | None = None
    activation: str | None = None
    experts: Experts | None = None
    unknown: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Layer:
    """One kind of layer."""

    class_name: str | None = None
    parameters: int | None = None
    attention: Attention | None = None
    mlp: Mlp | None = None
    norms: tuple[Norm, ...] = ()
    """The norms that the layer itself holds, in order; those inside its attention are not among them."""
    unknown: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LayerStack:
    """A stack of layers, alike or not."""

    path: str
    """Module path of the list: `model.language_model.layers`; empty where no module was seen."""
    count: int
    kinds: tuple[Layer, ...]
    """The different kinds of layers, in the order in which they first appear."""
    order: tuple[int, ...] = ()
    """For each layer the index of its kind; empty where all are alike."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of an embedding, a projector or a head."""

    kind: StageKind
    class_name: str = ""
    """Empty where it is unknown."""
    path: str = ""
    sizes: tuple[int, ...] = ()
    """linear: in, out. convolution: in, out. embedding: entries, width. mlp: in, hidden, out.
    norm: width. parameter: its shape."""
    kernel: tuple[int, ...] = ()
    """Of a convolution or a pooling."""
    eps: float | None = None
    layers: int | None = None
    """Of a block: how many layers it stacks."""
    queries: int | None = None
    """Of a block: its learned query tokens (latents of a perceiver)."""
    unknown: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Component:
    """A part of the model that has a role. Every parameter belongs to exactly one component."""

    role: Role
    paths: tuple[str, ...] = ()
    """Module (or parameter) paths. Where one component lies inside another, the inner one owns what is
    below its path."""
    class_name: str | None = None
    parameters: int | None = None
    """Owned parameters; a tied parameter is counted where it first appears."""
    width: int | None = None
    """Hidden width of the component's layers."""
    stacks: tuple[LayerStack, ...] = ()
    embeddings: tuple[Stage, ...] = ()
    stages: tuple[Stage, ...] = ()
    """What a projector or a head does, step by step."""
    beside: tuple[Stage, ...] = ()
    """What an encoder or a language model holds beside embeddings and layers: final norm, pooling head."""
    image_size: tuple[int, ...] = ()
    """Of a vision encoder: height and width in pixels that its position table is made for."""
    tied_to: str | None = None
    """Of a head: the parameter that is its weight, where it has none of its own."""
    stored: Mapping[str, int] = field(default_factory=dict)
    """Of a checkpoint whose headers were read: dtype → bytes of the tensors that the component owns."""
    unknown: Mapping[str, str] = field(default_factory=dict)
    evidence: tuple[Evidence, ...] = ()

    @property
    def layer_count(self) -> int | None:
        """Layers over all stacks; None where there are none."""
        return sum(stack.count for stack in self.stacks) if self.stacks else None

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The kinds of layers over all stacks, in order."""
        return tuple(kind for stack in self.stacks for kind in stack.kinds)


@dataclass(frozen=True, slots=True)
class Parameters:
    """The model's parameters over all components."""

    total: int | None = None
    ties: tuple[tuple[str, ...], ...] = ()
    """Groups of paths that are one parameter; the first of each group is the one that counts."""
    unknown: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Architecture:
    """What a model is made of."""

    model: ModelIdentity
    model_type: str | None
    model_class: str | None
    builder: Builder
    components: tuple[Component, ...]
    parameters: Parameters
    absent: Mapping[str, str] = field(default_factory=dict)
    """Roles that the model does not have, and how that is known."""
    unknown: Mapping[str, str] = field(default_factory=dict)
    """Fields and roles that could not be told, and why."""
    supports: tuple[str, ...] | None = None
    """Attention kernels that the class supports; None where the class was not seen."""
    notes: tuple[str, ...] = ()
    """What the user should know before believing the record: a sentence each."""
    versions: Mapping[str, str] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def having(self, role: Role) -> tuple[Component, ...]:
        """The components that have a role, in the order of the module tree."""
        return tuple(component for component in self.components if component.role is role)
