"""Architecture: what a model is made of, as a typed record.

Three things are never mixed up. *Found* is a value. *Absent* is a part that the model does not have:
it is in no component, and `Architecture.absent` says so with its reason. *Unknown* is a part or a
value that could not be told: the value is None, and the `unknown` beside it holds the reason. A None
without a reason means that the question does not arise (a Linear has no layers).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from vlm_inspect.builder import Builder
from vlm_inspect.ref import ModelIdentity
from vlm_inspect.tree import UnusedConfigKey

SCHEMA_VERSION = 1

Rule = Literal["family", "accessor", "name", "structure", "config", "shape", "attribute", "code"]
Kind = Literal[
    "vision-language",
    "audio-language",
    "omni",
    "dual-encoder",
    "retrieval",
    "image-classifier",
    "detector",
    "segmenter",
    "text",
    "other",
]
Modality = Literal["image", "video", "audio"]
FusionStep = Literal[
    "patches",  # raw patches, projected: there is no tower
    "codes",  # quantised: discrete tokens, which have embeddings as words have
    "queries",  # read by learned query tokens: a Q-Former, a perceiver
    "placeholders",  # in the places of placeholder tokens
    "added placeholders",  # added to the embeddings of placeholder tokens
    "addition",  # added to the text's embeddings, position by position
    "prefix",  # before the text
    "suffix",  # after the text
    "layers",  # added to the hidden states between the language model's layers (DeepStack)
    "cross-attention",  # read by cross-attention in the language model's layers
]
AttentionKind = Literal["multi-head", "grouped-query", "multi-query", "latent"]
Mechanism = Literal["attention", "linear attention", "state space", "convolution", "recurrence"]
Projection = Literal["query", "key", "value", "output"]
Positions = Literal["rotary", "relative", "alibi", "none"]
AttentionFeature = Literal[
    "sinks", "output gate", "indexer", "shared key-values", "shifted windows", "position table"
]
Placement = Literal["before", "after", "both"]
Size = Annotated[int, Meta(ge=0)]


class Role(str, Enum):
    """What a component is for. The contract fixes these names."""

    VISION_ENCODER = "vision_encoder"
    AUDIO_ENCODER = "audio_encoder"
    PROJECTOR = "projector"
    LANGUAGE_MODEL = "language_model"
    LM_HEAD = "lm_head"
    TASK_HEAD = "task_head"
    GENERATOR = "generator"
    OTHER = "other"


ENCODERS = frozenset({Role.VISION_ENCODER, Role.AUDIO_ENCODER})
"""What takes images or sound in."""
TEXT_ROLES = frozenset({Role.LANGUAGE_MODEL, Role.LM_HEAD})
"""What every text token goes through."""


class Evidence(Struct, frozen=True):
    """Why a finding was made."""

    finding: str
    """What was found: `vision_encoder at model.vision_tower`."""
    rule: Rule
    """The kind of rule that found it; the first that answers wins, in the order family, accessor, name,
    structure."""
    detail: str
    """What the rule saw: `get_encoder(modality="image") answered model.vision_tower`."""


class Norm(Struct, frozen=True):
    """A normalisation layer."""

    class_name: str | None = None
    width: int | None = None
    eps: float | None = None
    name: str = ""
    """Its name in the layer: `input_layernorm`."""
    unknown: Mapping[str, str] = field(default_factory=dict)


class Rotary(Struct, frozen=True):
    """How queries and keys are turned by their positions."""

    class_name: str | None = None
    """The module that makes the angles."""
    kind: str = "default"
    """`default`, a way to stretch it (`linear`, `dynamic`, `yarn`, `longrope`, `llama3`), or `axial`: by
    row and column. Others are the library's own names."""
    width: int | None = None
    """Channels of a head that are turned: all of them, or a part."""
    sections: tuple[int, ...] = ()
    """Channel pairs for time, height and width, where a token's position has several coordinates."""
    theta: float | None = None
    """The base of the angles' wavelengths."""
    factor: float | None = None
    """By how much the positions are stretched."""


class Latent(Struct, frozen=True):
    """Attention over compressed keys and values (DeepSeek's MLA): the ranks, and what a head is made of."""

    key_value_rank: int
    query_rank: int | None = None
    """None where queries are not compressed."""
    rotary_width: int | None = None
    """Channels of a head that are turned by position, and not compressed."""
    value_width: int | None = None
    """Of one head's values."""


class Attention(Struct, frozen=True):
    """A layer's attention, or what stands in its place."""

    class_name: str | None = None
    kind: AttentionKind | None = None
    heads: int | None = None
    key_value_heads: int | None = None
    """None where the question does not arise: heads that share one compressed latent, a state space."""
    head_width: int | None = None
    """Of queries and keys; values may have another (`Latent.value_width`)."""
    cross: bool = False
    """Whether it reads another sequence (the image, the encoder) than its own, or beside it."""
    sliding_window: int | None = None
    """Tokens that it sees back, where it does not see all."""
    chunk: int | None = None
    """Tokens of a chunk that it does not look out of, where it does not see all."""
    window: int | None = None
    """Of attention inside windows of an image: their side, in patches."""
    mechanism: Mechanism = "attention"
    latent: Latent | None = None
    qk_norm: tuple[Norm, ...] = ()
    """The norms on queries and keys. One as wide as a head works per head."""
    bias: tuple[Projection, ...] = ()
    """Which projections have a bias."""
    positions: Positions | None = None
    """How it knows where a token stands; `none`: only by what was added to the tokens, or not at all."""
    rotary: Rotary | None = None
    features: tuple[AttentionFeature, ...] = ()
    state_width: int | None = None
    """Of a state space: the size of its state per channel."""
    convolution: int | None = None
    """Of a short convolution in its place or inside it: tokens that it spans."""
    unknown: Mapping[str, str] = field(default_factory=dict)


class Experts(Struct, frozen=True):
    """A group of experts of a sparse MLP. Widths are those of one expert."""

    count: int
    per_token: int | None = None
    hidden_width: int | None = None
    shared: int | None = None
    """Experts that every token goes through, beside those that it is routed to."""
    shared_width: int | None = None
    """Hidden width of the shared experts together."""
    router: str | None = None
    """The class that chooses."""
    scoring: str | None = None
    """How the router scores: `softmax` or `sigmoid`, where a module or the configuration says."""
    parameters: int | None = None
    """Parameters of one expert."""
    path: str = ""
    """Where the experts are in their layer: `mlp.experts`."""
    modality: Literal["text", "vision"] | None = None
    """Whose tokens go through this group, where each modality has one of its own."""
    unknown: Mapping[str, str] = field(default_factory=dict)


class Mlp(Struct, frozen=True):
    """A layer's feed-forward part."""

    class_name: str | None = None
    """None where the layer itself holds the two projections."""
    input_width: int | None = None
    hidden_width: int | None = None
    """The width that reaches the down projection: half of a fused gate and up projection. Of a sparse MLP
    without a dense part, that of one expert."""
    output_width: int | None = None
    gated: bool | None = None
    activation: str | None = None
    experts: tuple[Experts, ...] = ()
    """None of a dense MLP; two where text and images have their own."""
    unknown: Mapping[str, str] = field(default_factory=dict)


class Layer(Struct, frozen=True):
    """One kind of layer."""

    class_name: str | None = None
    parameters: int | None = None
    attention: Attention | None = None
    mlp: Mlp | None = None
    norms: tuple[Norm, ...] = ()
    """The norms that the layer itself holds, in order; those inside its attention are not among them."""
    norm_placement: Placement | None = None
    """Whether norms stand before attention and MLP, after them, or both."""
    parallel: bool = False
    """Whether attention and MLP read the same norm's output, side by side."""
    extra_attention: tuple[Attention, ...] = ()
    """What mixes tokens beside `attention`: cross-attention to an encoder, a state space in parallel."""
    unknown: Mapping[str, str] = field(default_factory=dict)


class LayerStack(Struct, frozen=True):
    """A stack of layers, alike or not."""

    path: str
    """Module path of the list: `model.language_model.layers`; empty where no module was seen."""
    count: int
    kinds: tuple[Layer, ...]
    """The different kinds of layers, in the order in which they first appear."""
    order: tuple[int, ...] = ()
    """For each layer the index of its kind; empty where all are alike."""
    passes: int = 1
    """How many times a token goes through the whole stack."""


class BaseStage(Struct, frozen=True, tag_field="kind"):
    """What every step of an embedding, a projector or a head has."""

    class_name: str | None = None
    path: str = ""
    branch: int | None = None
    """Of steps side by side, whose outputs are added or joined: on which branch it is, counted from 0."""
    parameters: int | None = None
    """Only where the step is one of a component's other modules."""
    unknown: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """`linear`, `convolution`, `norm` …: the kind that the JSON record names."""
        return str(self.__struct_config__.tag)

    @property
    def input_width(self) -> int | None:
        """The width that it reads; None where it reads any."""
        return None

    @property
    def output_width(self) -> int | None:
        """The width that it writes; None where it writes what it reads, or that is not known."""
        return None


class LinearStage(BaseStage, frozen=True, kw_only=True, tag="linear"):
    """A Linear, or a layer that works as one."""

    in_features: Size
    out_features: Size

    @property
    def input_width(self) -> int:
        """Features."""
        return self.in_features

    @property
    def output_width(self) -> int:
        """Features."""
        return self.out_features


class ConvStage(BaseStage, frozen=True, kw_only=True, tag="convolution"):
    """A convolution."""

    in_channels: Size
    out_channels: Size
    kernel_size: tuple[Size, ...] = ()

    @property
    def input_width(self) -> int:
        """Channels."""
        return self.in_channels

    @property
    def output_width(self) -> int:
        """Channels."""
        return self.out_channels


class NormStage(BaseStage, frozen=True, kw_only=True, tag="norm"):
    """A normalisation."""

    width: Size | None = None
    eps: float | None = None

    @property
    def input_width(self) -> int | None:
        """As wide as its weight."""
        return self.width

    @property
    def output_width(self) -> int | None:
        """As wide as its weight."""
        return self.width


class EmbeddingStage(BaseStage, frozen=True, kw_only=True, tag="embedding"):
    """A table of tokens or positions."""

    num_embeddings: Size | None = None
    """Entries; of a grid, those of all its rows."""
    embedding_dim: Size | None = None
    grid: tuple[Size, ...] = ()
    """The sides of a table of positions with several: 2 for each axis, 64 places, say."""

    @property
    def output_width(self) -> int | None:
        """The width of an entry."""
        return self.embedding_dim


class MlpStage(BaseStage, frozen=True, kw_only=True, tag="mlp"):
    """A feed-forward network. It has no class where its projections lie among the other steps."""

    in_features: Size | None = None
    hidden_features: Size | None = None
    out_features: Size | None = None

    @property
    def sizes(self) -> tuple[int, ...]:
        """The widths that are known, in order."""
        sizes = (self.in_features, self.hidden_features, self.out_features)
        return tuple(size for size in sizes if size is not None)

    @property
    def input_width(self) -> int | None:
        """The first width that is known."""
        return self.sizes[0] if self.sizes else None

    @property
    def output_width(self) -> int | None:
        """The last width that is known."""
        return self.sizes[-1] if self.sizes else None


class ParameterStage(BaseStage, frozen=True, kw_only=True, tag="parameter"):
    """A bare parameter: a matrix, or what is added."""

    shape: tuple[Size, ...] = ()

    @property
    def is_matrix(self) -> bool:
        """Whether features can go through it."""
        return len(self.shape) == len(("rows", "columns"))

    @property
    def input_width(self) -> int | None:
        """The rows of a matrix."""
        return self.shape[0] if self.is_matrix else None

    @property
    def output_width(self) -> int | None:
        """The last side."""
        return self.shape[-1] if self.shape else None


class ActivationStage(BaseStage, frozen=True, tag="activation"):
    """An activation function."""


class PoolingStage(BaseStage, frozen=True, kw_only=True, tag="pooling"):
    """A pooling."""

    kernel_size: tuple[Size, ...] = ()


class BlockStage(BaseStage, frozen=True, kw_only=True, tag="block"):
    """Layers with attention: a Q-Former, a perceiver."""

    num_layers: Size | None = None
    num_queries: Size | None = None
    """Its learned query tokens (latents of a perceiver)."""


class OtherStage(BaseStage, frozen=True, kw_only=True, tag="other"):
    """Any other module."""

    shape: tuple[Size, ...] = ()
    """Of its largest parameter, where it is a single module."""

    @property
    def output_width(self) -> int | None:
        """The last side."""
        return self.shape[-1] if self.shape else None


Stage = (
    LinearStage
    | ConvStage
    | NormStage
    | EmbeddingStage
    | MlpStage
    | ParameterStage
    | ActivationStage
    | PoolingStage
    | BlockStage
    | OtherStage
)
"""One step of an embedding, a projector or a head."""


class ImageInput(Struct, frozen=True):
    """What a vision encoder takes in, and from where it hands features on."""

    size: tuple[int, ...] = ()
    """Height and width in pixels that its position table is made for."""
    feature_layers: int | None = None
    """How many layers' outputs the configuration lists to be handed on side by side; None where it is one."""
    unknown: Mapping[str, str] = field(default_factory=dict)


class HeadInfo(Struct, frozen=True):
    """What only a head has."""

    tied_to: str
    """The parameter that is its weight, where it has none of its own."""


class Component(Struct, frozen=True):
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
    extra_modules: tuple[Stage, ...] = ()
    """What an encoder or a language model holds beside embeddings and layers: final norm, pooling head."""
    image: ImageInput | None = None
    """Of a vision encoder, where anything of it is known or has a reason for being unknown."""
    head: HeadInfo | None = None
    """Of a head that is tied to another parameter."""
    active: int | None = None
    """Of its parameters, those that work on one text token: all but the experts that it is not routed to."""
    stored_bytes: Mapping[str, int] = field(default_factory=dict)
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


class ModalityInput(Struct, frozen=True):
    """How a modality other than text gets into the language model."""

    modality: Modality
    steps: tuple[FusionStep, ...] = ()
    """What is done with its features, in order: `("queries", "placeholders")`."""
    token_key: str | None = None
    """The configuration's key for the placeholder token: `image_token_id`."""
    token_id: int | None = None
    """The placeholder token's number in the vocabulary."""
    unknown: Mapping[str, str] = field(default_factory=dict)
    evidence: tuple[Evidence, ...] = ()


class Parameters(Struct, frozen=True):
    """The model's parameters over all components."""

    total: int | None = None
    ties: tuple[tuple[str, ...], ...] = ()
    """Groups of paths that are one parameter; the first of each group is the one that counts."""
    active: int | None = None
    """Parameters that work on one text token: language model and head, embeddings included, but the experts
    that it is not routed to."""
    uncertain: str | None = None
    """Why the count depends on a checkpoint that was not at hand; None where the class decides it."""
    unknown: Mapping[str, str] = field(default_factory=dict)


class Quantization(Struct, frozen=True):
    """How a repository's weights are packed. Parameters are counted as the model has them, never packed."""

    method: str
    """`gptq`, `awq`, `bitsandbytes`, `compressed-tensors`, `fp8`, `mxfp4`, `mlx`: as config.json names it."""
    bits: int | None = None
    """Of a quantised weight; None where nothing says."""
    number: str | None = None
    """What the bits are: `nf4`, `int`, `e4m3`."""
    group: tuple[int, ...] = ()
    """Weights that share a scale: how many in a row, or the sides of a block."""
    packing: str | None = None
    """How they lie in the file, where that is said: `pack-quantized`, `gemm`."""
    path: str = "quantization_config"
    """The key that says it: `text_config.quantization_config`."""


class Architecture(Struct, frozen=True):
    """What a model is made of."""

    model: ModelIdentity
    model_type: str | None
    model_class: str | None
    builder: Builder
    components: tuple[Component, ...]
    parameters: Parameters
    kind: Kind | None = None
    """What sort of model it is."""
    inputs: tuple[ModalityInput, ...] = ()
    """How images, videos and sounds get in; none where the model takes text alone."""
    absent: Mapping[str, str] = field(default_factory=dict)
    """Roles that the model does not have, and how that is known."""
    unknown: Mapping[str, str] = field(default_factory=dict)
    """Fields and roles that could not be told, and why."""
    unnamed_modules: str | None = None
    """Why the classes of some modules are not known; None where all are."""
    attention_backends: tuple[str, ...] | None = None
    """Attention kernels that the class supports; None where the class was not seen."""
    notes: tuple[str, ...] = ()
    """What the user should know before believing the record: a sentence each."""
    unused_config_keys: tuple[UnusedConfigKey, ...] = ()
    """The keys of config.json that the built classes did not read. Where some are structural, the record may
    not be of this model. Empty, too, where nothing was built."""
    quantization: Quantization | None = None
    """None where the configuration says of none."""
    versions: Mapping[str, str] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    @property
    def ignored_structural_keys(self) -> tuple[UnusedConfigKey, ...]:
        """The unread keys that state a structure that was not built."""
        return tuple(key for key in self.unused_config_keys if key.structural)

    @property
    def missing_modules(self) -> dict[str, str]:
        """Where a part is that could not be built, and why: its place is known, its insides are not."""
        return {
            component.paths[0]: component.unknown["parameters"]
            for component in self.components
            if component.paths and "parameters" in component.unknown
        }

    def by_role(self, role: Role) -> tuple[Component, ...]:
        """The components that have a role, in the order of the module tree."""
        return tuple(component for component in self.components if component.role is role)
