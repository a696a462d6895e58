"""Architecture: the parts of a model, as a typed record.

A part that the model does not have is *absent*: `Architecture.absent` has the reason. A part or value that
could not be determined is *unknown*: it is None or empty, and `unknown` of the same record has the reason, by
the name of the field. A None without a reason means that the field does not apply.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Literal

from msgspec import Struct, field

from vlm_inspect.core.display import Displayed
from vlm_inspect.core.model_ref import ModelIdentity
from vlm_inspect.core.module_tree import UnusedConfigKey
from vlm_inspect.core.options import Builder
from vlm_inspect.core.stages import Stage

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
    "patches",  # projected patches, without a tower
    "codes",  # discrete tokens of a quantizer, with embeddings like those of words
    "queries",  # learned query tokens: a Q-Former, a perceiver
    "placeholders",  # in place of placeholder tokens
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
AttentionFeature = Literal["sinks", "output gate", "indexer", "shared key-values", "shifted windows", "position table"]
Placement = Literal["before", "after", "both"]
StageOrder = Literal[
    "use",  # as they run
    "declaration",  # as their module declares them; its code does not show how they run
]


class Role(str, Enum):
    """The purpose of a component. The values are part of the public interface."""

    VISION_ENCODER = "vision_encoder"
    AUDIO_ENCODER = "audio_encoder"
    PROJECTOR = "projector"
    LANGUAGE_MODEL = "language_model"
    LM_HEAD = "lm_head"
    TASK_HEAD = "task_head"
    GENERATOR = "generator"
    OTHER = "other"


ENCODERS = frozenset({Role.VISION_ENCODER, Role.AUDIO_ENCODER})
"""Roles that read images or sound."""
ENCODER_MODALITIES: tuple[tuple[Modality, Role], ...] = (
    ("image", Role.VISION_ENCODER),
    ("video", Role.VISION_ENCODER),
    ("audio", Role.AUDIO_ENCODER),
)
"""The modalities that transformers' `get_encoder` accepts, and the roles of their encoders."""
TEXT_ROLES = frozenset({Role.LANGUAGE_MODEL, Role.LM_HEAD})
"""Roles that process every text token."""


class Evidence(Struct, frozen=True):
    """Why something was found."""

    finding: str
    """`vision_encoder at model.vision_tower`."""
    rule: Rule
    """The kind of rule. The first rule with a result wins, in the order family, accessor, name, structure."""
    detail: str
    """`get_encoder(modality="image") answered model.vision_tower`."""


class Norm(Struct, frozen=True):
    """A normalization layer."""

    class_name: str | None = None
    width: int | None = None
    eps: float | None = None
    name: str = ""
    """Its name in the layer: `input_layernorm`."""
    unknown: Mapping[str, str] = field(default_factory=dict)


class Rotary(Struct, frozen=True):
    """Rotary position embeddings of queries and keys."""

    class_name: str | None = None
    """The module that computes the angles."""
    kind: str = "default"
    """`default`, a scaling method (`linear`, `dynamic`, `yarn`, `longrope`, `llama3`), or `axial`: by row
    and column. Other values are transformers' own names."""
    width: int | None = None
    """Number of rotated channels of a head."""
    sections: tuple[int, ...] = ()
    """Channel pairs for time, height and width, if positions have several coordinates."""
    theta: float | None = None
    """The base of the angles' wavelengths."""
    factor: float | None = None


class Latent(Struct, frozen=True):
    """Attention over compressed keys and values (DeepSeek's MLA)."""

    key_value_rank: int
    query_rank: int | None = None
    """None if queries are not compressed."""
    rotary_width: int | None = None
    """Channels of a head that are rotated and not compressed."""
    value_width: int | None = None
    """Width of the values of one head."""


class Attention(Struct, frozen=True):
    """A layer's attention, or the mixer that replaces it."""

    class_name: str | None = None
    kind: AttentionKind | None = None
    heads: int | None = None
    key_value_heads: int | None = None
    """None if it does not apply: heads that share one compressed latent, a state space."""
    head_width: int | None = None
    """Width of queries and keys; that of values may differ (`Latent.value_width`)."""
    cross: bool = False
    """Whether it attends to another sequence (the image, the encoder), alone or together with its own."""
    sliding_window: int | None = None
    """Width of its sliding window in tokens; None for full attention."""
    chunk: int | None = None
    """Size of its chunks in tokens, for chunked attention."""
    window: int | None = None
    """Side of its windows in patches, for windowed attention in an image."""
    mechanism: Mechanism = "attention"
    latent: Latent | None = None
    qk_norm: tuple[Norm, ...] = ()
    """The norms on queries and keys. One as wide as a head works per head."""
    bias: tuple[Projection, ...] = ()
    """Which projections have a bias."""
    positions: Positions | None = None
    """Its position encoding; `none` if positions can only come from the embeddings."""
    rotary: Rotary | None = None
    features: tuple[AttentionFeature, ...] = ()
    state_width: int | None = None
    """State size per channel of a state space."""
    convolution: int | None = None
    """Kernel size of a short convolution in it, or in its place."""
    key_heads: int | None = None
    """Of linear attention, the heads of queries and keys, if its values have more: `heads` are theirs."""
    unknown: Mapping[str, str] = field(default_factory=dict)


class Experts(Struct, frozen=True):
    """A group of experts of a sparse MLP. Widths are those of one expert."""

    count: int
    per_token: int | None = None
    hidden_width: int | None = None
    shared: int | None = None
    """Experts that process every token, in addition to the routed ones."""
    shared_width: int | None = None
    """Hidden width of the shared experts together."""
    router: str | None = None
    """The class that selects the experts."""
    scoring: str | None = None
    """The router's scoring function: `softmax` or `sigmoid`; None if unknown."""
    parameters: int | None = None
    """Parameters of one expert."""
    path: str = ""
    """Their path in the layer: `mlp.experts`."""
    modality: Literal["text", "vision"] | None = None
    """The modality of the tokens, if each modality has its own experts."""
    unknown: Mapping[str, str] = field(default_factory=dict)


class Mlp(Struct, frozen=True):
    """A layer's feed-forward part."""

    class_name: str | None = None
    """None if the projections are in the layer itself."""
    input_width: int | None = None
    hidden_width: int | None = None
    """The input width of the down projection: half of a fused gate and up projection. Of a sparse MLP
    without a dense part, that of one expert."""
    output_width: int | None = None
    gated: bool | None = None
    activation: str | None = None
    experts: tuple[Experts, ...] = ()
    """Empty for a dense MLP; two groups if text and images have their own."""
    unknown: Mapping[str, str] = field(default_factory=dict)


class Layer(Struct, frozen=True):
    """One kind of layer."""

    class_name: str | None = None
    parameters: int | None = None
    attention: Attention | None = None
    mlp: Mlp | None = None
    norms: tuple[Norm, ...] = ()
    """The layer's own norms, in order, without those inside its attention."""
    norm_placement: Placement | None = None
    """Whether norms are before attention and MLP, after them, or both."""
    parallel: bool = False
    """Whether attention and MLP have the same norm's output as input."""
    extra_attention: tuple[Attention, ...] = ()
    """Other mixers of the layer: cross-attention to an encoder, a parallel state space."""
    unknown: Mapping[str, str] = field(default_factory=dict)


class Loop(Struct, frozen=True):
    """Neighbouring layers of a stack that do not run exactly once."""

    first: int
    """Index of the first layer."""
    last: int
    """Index of the last layer."""
    passes: int
    """How many times they run for a token; 0 if they are built and never run."""


class LayerStack(Struct, frozen=True):
    """A stack of layers, of one or several kinds."""

    path: str
    """Module path of the list: `model.language_model.layers`; empty if nothing was built."""
    count: int
    kinds: tuple[Layer, ...]
    """The kinds of layers, in order of first appearance."""
    order: tuple[int, ...] = ()
    """For each layer the index of its kind; empty if there is one kind."""
    passes: int | None = 1
    """How many times a token goes through the whole stack, with one set of weights."""
    loops: tuple[Loop, ...] = ()
    """The layers that run more or less often than once in a pass through the stack."""
    unknown: Mapping[str, str] = field(default_factory=dict)


class ImageInput(Struct, frozen=True):
    """Input size and output layers of a vision encoder."""

    size: tuple[int, ...] = ()
    """Height and width in pixels of its position table."""
    feature_layers: int | None = None
    """Number of layers whose outputs are concatenated, according to the configuration; None for one."""
    unknown: Mapping[str, str] = field(default_factory=dict)


class HeadInfo(Struct, frozen=True):
    """Facts that only a head has."""

    tied_to: str
    """The parameter that it is tied to."""


class Connection(Struct, frozen=True):
    """What a projector reads, and where its output goes."""

    modality: Modality | None = None
    """The modality of the features."""
    reads: tuple[str, ...] = ()
    """Paths of the encoders or projectors whose output it reads; empty if it reads raw input."""
    layers: tuple[int, ...] = ()
    """Of a list of projectors: the encoder layer that each one reads. Empty if it reads the last output."""
    feeds: str | None = None
    """Path of the projector that reads its output; None if the language model does."""
    steps: tuple[FusionStep, ...] = ()
    """How its output enters the language model."""
    unknown: Mapping[str, str] = field(default_factory=dict)


class Component(Struct, frozen=True):
    """A part of the model with a role. Every parameter belongs to exactly one component."""

    role: Role
    paths: tuple[str, ...] = ()
    """Module (or parameter) paths. A component inside another one owns everything below its own path."""
    class_name: str | None = None
    parameters: int | None = None
    """Owned parameters; a tied parameter is counted where it first appears."""
    width: int | None = None
    """Hidden width of the component's layers."""
    stacks: tuple[LayerStack, ...] = ()
    embeddings: tuple[Stage, ...] = ()
    stages: tuple[Stage, ...] = ()
    """The steps of a projector or a head, in order."""
    stage_order: StageOrder | None = None
    """How `stages` are ordered; None if there are less than two, or if nothing shows their order."""
    connection: Connection | None = None
    """Only of a projector."""
    extra_modules: tuple[Stage, ...] = ()
    """Modules of an encoder or a language model other than embeddings and layers: norm, pooling head."""
    image: ImageInput | None = None
    """Only of a vision encoder."""
    head: HeadInfo | None = None
    """Only of a head that is tied to another parameter."""
    active: int | None = None
    """Parameters used for one text token: all except the experts that are not selected."""
    stored_bytes: Mapping[str, int] = field(default_factory=dict)
    """Bytes of the component's tensors by dtype, if the checkpoint's headers were read."""
    quantized_parameters: int | None = None
    """Parameters that the checkpoint stores in a quantized format; None if its headers were not read."""
    unknown: Mapping[str, str] = field(default_factory=dict)
    evidence: tuple[Evidence, ...] = ()

    @property
    def layer_count(self) -> int | None:
        """Number of layers in all stacks; None if there are none."""
        return sum(stack.count for stack in self.stacks) if self.stacks else None

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The kinds of layers of all stacks, in order."""
        return tuple(kind for stack in self.stacks for kind in stack.kinds)


class ModalityInput(Struct, frozen=True):
    """How a modality other than text gets into the language model."""

    modality: Modality
    steps: tuple[FusionStep, ...] = ()
    """The steps of the fusion, in order: `("queries", "placeholders")`."""
    token_key: str | None = None
    """The configuration's key for the placeholder token: `image_token_id`."""
    token_id: int | None = None
    unknown: Mapping[str, str] = field(default_factory=dict)
    evidence: tuple[Evidence, ...] = ()


class Parameters(Struct, frozen=True):
    """The model's parameters over all components."""

    total: int | None = None
    ties: tuple[tuple[str, ...], ...] = ()
    """Groups of paths that are one parameter; the first of each group is counted."""
    active: int | None = None
    """Parameters used for one text token: language model and head, with embeddings, without the experts
    that are not selected. Each weight counts once, however often its layer runs."""
    uncertain: str | None = None
    """Why the count depends on a checkpoint that was not available; None if it depends on the class alone."""
    unknown: Mapping[str, str] = field(default_factory=dict)


class QuantizedGroup(Struct, frozen=True):
    """Modules with the same quantization, in a model with several."""

    bits: int | None = None
    number: str | None = None
    """The number format: `nf4`, `int`, `e4m3`."""
    group: tuple[int, ...] = ()
    """Group size, as in `Quantization`."""
    targets: tuple[str, ...] = ()
    """The modules as config.json names them, at most eight; empty for all others."""


class Quantization(Struct, frozen=True):
    """Quantization of the weights. Parameters are always counted unpacked."""

    method: str
    """As in config.json: `gptq`, `awq`, `bitsandbytes`, `compressed-tensors`, `fp8`, `mxfp4`, `mlx`."""
    bits: int | None = None
    """Bits of a weight; None if unknown, or if modules differ."""
    number: str | None = None
    """The number format: `nf4`, `int`, `e4m3`; None if modules differ."""
    group: tuple[int, ...] = ()
    """Group size: weights in a row that share a scale, or the sides of a block; empty if modules differ."""
    packing: str | None = None
    """The storage format, if known: `pack-quantized`, `gemm`."""
    path: str = "quantization_config"
    """The configuration key: `text_config.quantization_config`."""
    groups: tuple[QuantizedGroup, ...] = ()
    """Each quantization, if modules differ in bits, number format or group size."""


class Architecture(Displayed, Struct, frozen=True):
    """The parts of a model, and facts of the whole."""

    model: ModelIdentity
    model_type: str | None
    model_class: str | None
    builder: Builder
    components: tuple[Component, ...]
    parameters: Parameters
    kind: Kind | None = None
    inputs: tuple[ModalityInput, ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict)
    """Roles that the model does not have, with the reason."""
    unknown: Mapping[str, str] = field(default_factory=dict)
    """Fields and roles that are unknown, with the reason."""
    unnamed_modules: str | None = None
    """Why the classes of some modules are not known; None if all are."""
    attention_backends: tuple[str, ...] | None = None
    """Attention implementations that the class supports; None if the class is not known."""
    notes: tuple[str, ...] = ()
    """Warnings, one sentence each."""
    unused_config_keys: tuple[UnusedConfigKey, ...] = ()
    """Keys of config.json that the built classes did not read. If some are structural, the record may not
    describe this model. Empty if nothing was built."""
    quantization: Quantization | None = None
    """None if the configuration has none."""
    versions: Mapping[str, str] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def summary(self) -> str:
        """Return `llava-hf/llava-1.5-7b-hf: LlavaForConditionalGeneration, 7,063,427,072 parameters`."""
        total = self.parameters.total
        count = "parameters unknown" if total is None else f"{total:,} parameters"
        return f"{self.model.id}: {self.model_class or self.model_type or 'class unknown'}, {count}"

    @property
    def ignored_structural_keys(self) -> tuple[UnusedConfigKey, ...]:
        """Unused keys that describe a structure that was not built."""
        return tuple(key for key in self.unused_config_keys if key.structural)

    @property
    def missing_modules(self) -> dict[str, str]:
        """Paths of parts that could not be built, with the reason."""
        return {
            component.paths[0]: component.unknown["parameters"]
            for component in self.components
            if component.paths and "parameters" in component.unknown
        }

    def by_role(self, role: Role) -> tuple[Component, ...]:
        """Return the components with a role, in the order of the module tree."""
        return tuple(component for component in self.components if component.role is role)
