"""A component as named facts: what is compared, and what a change is called."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from msgspec import Struct, field

from vlm_inspect.core.architecture import (
    Architecture,
    Attention,
    BlockStage,
    Component,
    ConvStage,
    EmbeddingStage,
    Experts,
    Latent,
    Layer,
    LayerStack,
    LinearStage,
    Mlp,
    MlpStage,
    Quantization,
    Role,
    Rotary,
    Stage,
)
from vlm_inspect.core.difference import Value

# what the facts of one layer of several kinds begin with
_PREFIX = re.compile(
    r"^(stack \d+ )?(kind \d+ )?(mixer \d+ )?((text|vision|group \d+) (?=expert|shared|router))?"
)

# the fields of a record that may be unknown, by the names of the facts that they hold
COMPONENT_FIELDS = {"class_name": "class", "stacks": "layers"}
LAYER_FIELDS = {"class_name": "layer class", "mlp": "MLP", "norm_placement": "norm placement"}
ATTENTION_FIELDS = {
    "class_name": "attention",
    "kind": "attention kind",
    "key_value_heads": "key-value heads",
    "cross": "cross-attention",
    "qk_norm": "q/k norm",
    "bias": "attention bias",
    "positions": "attention positions",
    "rotary": "rotary kind",
}
NORM_FIELDS = {"class_name": "norm", "eps": "norm eps"}
EXPERT_FIELDS = {"per_token": "experts per token", "parameters": "expert parameters"}
MLP_FIELDS = {"class_name": "MLP", "activation": "activation", "experts": "experts"}

_EMBEDDING_FACTS = (
    "vocabulary",
    "embedding class",
    "patch projection",
    "patch size",
    "input channels",
    "positions",
    "further tables",
)
_STEP_FACTS = (
    "input width",
    "output width",
    "inner widths",
    "vocabulary",
    "steps",
    "query tokens",
    "resampler layers",
)
_ATTENTION_FACTS = (
    "attention",
    "attention kind",
    "heads",
    "key-value heads",
    "head width",
    "cross-attention",
    "mechanism",
    "sliding window",
    "attention chunk",
    "attention window",
    "key-value rank",
    "query rank",
    "value width",
    "q/k norm",
    "q/k norm width",
    "attention bias",
    "attention positions",
    "rotary kind",
    "rotary width",
    "rotary sections",
    "rotary base",
    "rotary factor",
    "attention features",
    "state width",
    "convolution",
)
_EXPERT_FACTS = (
    "experts",
    "experts per token",
    "expert width",
    "shared experts",
    "shared expert width",
    "router",
    "router scoring",
)
_MLP_FACTS = ("MLP", "MLP hidden width", "MLP gated", "activation", *_EXPERT_FACTS)
_NORM_FACTS = ("norm", "norm eps", "norms", "norm placement", "parallel")
_ENTRY_FACTS = tuple(f"{what} {fact}" for what in ("image", "video", "audio") for fact in ("entry", "token"))
# the facts that nobody can know where a field of the record is unknown, and those fields, nearest first
_PART_OF = {
    **dict.fromkeys(_EMBEDDING_FACTS, ("embeddings",)),
    **dict.fromkeys(_STEP_FACTS, ("stages", "embeddings")),
    **dict.fromkeys(_ATTENTION_FACTS, ("attention", "layers")),
    **dict.fromkeys(_MLP_FACTS, ("MLP", "layers")),
    **dict.fromkeys(_EXPERT_FACTS, ("experts", "MLP", "layers")),
    **dict.fromkeys(_NORM_FACTS, ("norms", "layers")),
    **dict.fromkeys(("layer class", "layer order"), ("layers",)),
    **dict.fromkeys(_ENTRY_FACTS, ("inputs",)),
}
GROUPS = frozenset({"embeddings", "stages", "inputs"})
"""Unknown fields that are no fact of their own: what is unknown are the facts that they would hold."""


class Facts(Struct, frozen=True):
    """Facts by name, in the order in which they are told, and the unknown ones with their reasons."""

    known: Mapping[str, Value] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)
    unseen: str | None = None
    """Why no module was looked at: then whatever is not known is unknown."""

    def why_unknown(self, name: str) -> str | None:
        """Why a fact is unknown; None where it is known, or where there is no such thing."""
        if name in self.unknown:
            return self.unknown[name]
        if name in self.known:
            return None
        bare = _PREFIX.sub("", name)
        reasons = {_PREFIX.sub("", other): reason for other, reason in self.unknown.items()}
        fields = (bare, *_PART_OF.get(bare, ()))
        return next((reasons[field] for field in fields if field in reasons), self.unseen)


def renamed(
    reasons: Mapping[str, str], names: Mapping[str, str], prefix: str = "", part: str = ""
) -> dict[str, str]:
    """Reasons by the names of the facts that they are about."""
    return {
        prefix + names.get(name, part + name.replace("_", " ")): reason for name, reason in reasons.items()
    }


def layer_facts(layer: Layer) -> Named:
    """Its attention, MLP and norms; of what mixes tokens beside its attention, the same again."""
    yield "layer class", layer.class_name
    if layer.attention is not None:
        yield from _attention(layer.attention)
    for prefix, further in _further(layer):
        yield from ((prefix + name, value) for name, value in _attention(further))
    if layer.mlp is not None:
        yield from _mlp(layer.mlp)
    if all(norm.class_name for norm in layer.norms):
        yield "norm", tuple(dict.fromkeys(norm.class_name or "" for norm in layer.norms))
    yield "norm eps", _one([norm.eps for norm in layer.norms if norm.eps is not None])
    yield "norms", tuple(norm.name for norm in layer.norms)
    yield "norm placement", layer.norm_placement
    yield "parallel", layer.parallel or None


def unknown_of_layer(layer: Layer, prefix: str) -> dict[str, str]:
    """What is unknown of it, by the names of the facts; how many parameters are active follows from those."""
    unknown = renamed({k: v for k, v in layer.unknown.items() if k != "active"}, LAYER_FIELDS, prefix)
    for norm in layer.norms:
        unknown |= renamed(norm.unknown, NORM_FIELDS, prefix, "norm ")
    if layer.attention is not None:
        unknown |= renamed(layer.attention.unknown, ATTENTION_FIELDS, prefix)
    for inner, further in _further(layer):
        unknown |= renamed(further.unknown, ATTENTION_FIELDS, prefix + inner)
    if layer.mlp is not None:
        unknown |= renamed(layer.mlp.unknown, MLP_FIELDS, prefix, "MLP ")
        for inner, experts in _groups(layer.mlp):
            unknown |= renamed(experts.unknown, EXPERT_FIELDS, prefix + inner)
    return unknown


def _further(layer: Layer) -> Iterator[tuple[str, Attention]]:
    for number, further in enumerate(layer.extra_attention, 2):
        yield f"mixer {number} ", further


def _groups(mlp: Mlp) -> Iterator[tuple[str, Experts]]:
    """The groups of experts: the only one without a prefix, several by whose tokens go through them."""
    for number, experts in enumerate(mlp.experts, 1):
        several = len(mlp.experts) > 1
        yield (f"{experts.modality or f'group {number}'} " if several else ""), experts


def _attention(attention: Attention) -> Named:
    yield "attention", attention.class_name
    yield "mechanism", attention.mechanism if attention.mechanism != "attention" else None
    yield "attention kind", attention.kind
    yield "heads", attention.heads
    yield "key-value heads", attention.key_value_heads
    yield "head width", attention.head_width
    yield "cross-attention", attention.cross or None
    yield "sliding window", attention.sliding_window
    yield "attention chunk", attention.chunk
    yield "attention window", attention.window
    if attention.latent is not None:
        yield from _latent(attention.latent)
    yield "q/k norm", tuple(dict.fromkeys(norm.class_name or "" for norm in attention.qk_norm))
    yield "q/k norm width", next((norm.width for norm in attention.qk_norm), None)
    yield "attention bias", attention.bias
    yield "attention positions", attention.positions
    if attention.rotary is not None:
        yield from _rotary(attention.rotary)
    yield "attention features", attention.features
    yield "state width", attention.state_width
    yield "convolution", attention.convolution


def _latent(latent: Latent) -> Named:
    yield "key-value rank", latent.key_value_rank
    yield "query rank", latent.query_rank
    yield "value width", latent.value_width


def _rotary(rotary: Rotary) -> Named:
    """Not the class that makes the angles: what it does is told, and where it lies is a path's business."""
    yield "rotary kind", rotary.kind
    yield "rotary width", rotary.width
    yield "rotary sections", rotary.sections
    yield "rotary base", rotary.theta
    yield "rotary factor", rotary.factor


def _mlp(mlp: Mlp) -> Named:
    yield "MLP", mlp.class_name
    yield "MLP hidden width", mlp.hidden_width
    yield "MLP gated", mlp.gated
    yield "activation", mlp.activation
    for prefix, experts in _groups(mlp):
        yield from ((prefix + name, value) for name, value in _experts(experts))


def _experts(experts: Experts) -> Named:
    yield "experts", experts.count
    yield "experts per token", experts.per_token
    yield "expert width", experts.hidden_width
    yield "shared experts", experts.shared
    yield "shared expert width", experts.shared_width
    yield "router", experts.router
    yield "router scoring", experts.scoring


def _one(values: list[float]) -> Value | None:
    """The value that all share; their text where they differ."""
    different = sorted(set(values))
    return different[0] if len(different) == 1 else " / ".join(map(repr, different)) or None


Named = Iterator[tuple[str, Value | None]]


def facts_of(component: Component) -> Facts:
    """What is compared of a component.

    Its parameters are not: they follow from the rest, or are told where nothing else does.
    """
    known = {name: value for name, value in _named(component) if value not in (None, (), "")}
    unknown = renamed(component.unknown, COMPONENT_FIELDS)
    if component.image is not None:
        unknown |= renamed(component.image.unknown, {}, part="image ")
    unknown.pop("active", None)  # it follows from the experts
    # a component that was not seen has no path: its class says as much
    unseen = unknown.pop("paths", unknown.get("parameters"))
    unknown |= dict(_nameless(component))
    for prefix, layer in _layers(component):
        unknown |= unknown_of_layer(layer, prefix)
    return Facts(known, unknown, unseen)


def _nameless(component: Component) -> Iterator[tuple[str, str]]:
    """Steps and modules whose classes are unknown, by the facts that would name them."""
    named = [*((stage, "steps") for stage in component.stages)]
    named += [(stage, f"module {stage.path.rpartition('.')[2]}") for stage in component.extra_modules]
    for stage, name in named:
        if "class_name" in stage.unknown:
            yield name, stage.unknown["class_name"]


def model_facts(architecture: Architecture, *, read: bool = True) -> Facts:
    """What is compared of the model as a whole; its total only where it is unknown: it follows.

    Without `read`, not what was misread: one of the two configurations was read by no class.
    """
    named: dict[str, Value | None] = {
        "model class": architecture.model_class,
        "model type": architecture.model_type,
        "quantization": _quantization(architecture.quantization),
        **dict(_entries(architecture)),
    }
    if read:
        named["ignored config keys"] = tuple(key.path for key in architecture.ignored_structural_keys) or None
    unknown = {
        name.replace("_", " "): reason
        for name, reason in architecture.unknown.items()
        if name.startswith("model_")
    }
    unknown |= dict(_unknown_entries(architecture))
    if "total" in architecture.parameters.unknown:
        unknown["parameters"] = architecture.parameters.unknown["total"]
    return Facts({name: value for name, value in named.items() if value is not None}, unknown)


def _entries(architecture: Architecture) -> Named:
    """How each modality gets in, and its placeholder token."""
    for entry in architecture.inputs:
        yield f"{entry.modality} entry", entry.steps or None
        yield f"{entry.modality} token", entry.token_id


def _unknown_entries(architecture: Architecture) -> Iterator[tuple[str, str]]:
    if "inputs" in architecture.unknown:
        yield "inputs", architecture.unknown["inputs"]
    for entry in architecture.inputs:
        names = {"steps": f"{entry.modality} entry", "token_id": f"{entry.modality} token"}
        yield from ((names[field], reason) for field, reason in entry.unknown.items())


def _quantization(stated: Quantization | None) -> str | None:
    """`gptq, 4 bits`; how it is packed is the file's business."""
    if stated is None:
        return None
    return f"{stated.method}, {stated.bits} bits" if stated.bits else stated.method


def _named(component: Component) -> Named:
    yield "class", component.class_name
    yield "layers", component.layer_count
    yield "width", component.width
    if component.role is Role.LM_HEAD:
        yield from _head(component)
    elif component.role is Role.PROJECTOR:
        yield from _projector(component.stages)
    else:
        yield from _embeddings(component)
    for stage in component.extra_modules:
        yield f"module {stage.path.rpartition('.')[2]}", _step(stage)
    for prefix, stack in _stacks(component):
        yield f"{prefix}layer order", _order(stack)
        for name, value in _kinds(stack):
            yield prefix + name, value


def _head(component: Component) -> Named:
    linear = next((stage for stage in component.stages if isinstance(stage, LinearStage)), None)
    if linear is not None:
        yield "input width", linear.in_features
        yield "vocabulary", linear.out_features
    yield "tied", component.head is not None
    yield "steps", tuple(_step(stage) for stage in component.stages if stage is not linear)


def _projector(stages: tuple[Stage, ...]) -> Named:
    """Widths where it begins and ends, and the steps without what follows from those."""
    widths = [
        (stage.input_width, stage.output_width)
        for stage in stages
        if isinstance(stage, LinearStage | MlpStage)
        if stage.input_width is not None and stage.output_width is not None
    ]
    if widths:
        yield "input width", widths[0][0]
        yield "output width", widths[-1][1]
        yield "inner widths", tuple(side for pair in widths for side in pair)[1:-1]
    if all(stage.class_name for stage in stages):
        yield "steps", tuple(_step(stage) for stage in stages)
    blocks = [stage for stage in stages if isinstance(stage, BlockStage)]
    yield "query tokens", next((block.num_queries for block in blocks if block.num_queries), None)
    yield "resampler layers", next((block.num_layers for block in blocks if block.num_layers), None)


def _embeddings(component: Component) -> Named:
    tables = [stage for stage in component.embeddings if isinstance(stage, EmbeddingStage)]
    tables = [table for table in tables if table.num_embeddings is not None]
    patches = (stage for stage in component.embeddings if isinstance(stage, ConvStage | LinearStage))
    patch = next(patches, None)
    if component.role is Role.LANGUAGE_MODEL:
        yield "vocabulary", tables[0].num_embeddings if tables else None
        yield "embedding class", tables[0].class_name if tables else None
        yield "further tables", tuple(str(table.num_embeddings) for table in tables[1:])
        return
    if patch is not None:
        yield "patch projection", patch.class_name
        if isinstance(patch, ConvStage):
            yield "patch size", patch.kernel_size
            yield "input channels", patch.in_channels
    yield "positions", tables[0].num_embeddings if tables else None
    yield "further tables", tuple(str(table.num_embeddings) for table in tables[1:])
    yield "image size", component.image.size if component.image is not None else None


def _stacks(component: Component) -> Iterator[tuple[str, LayerStack]]:
    """The stacks with what their facts' names begin with: nothing where there is only one."""
    several = len(component.stacks) > 1
    for index, stack in enumerate(component.stacks, 1):
        yield f"stack {index} " if several else "", stack


def _layers(component: Component) -> Iterator[tuple[str, Layer]]:
    for prefix, stack in _stacks(component):
        for index, layer in enumerate(stack.kinds, 1):
            yield f"{prefix}kind {index} " if len(stack.kinds) > 1 else prefix, layer


def _order(stack: LayerStack) -> tuple[int, ...]:
    """Which kind each layer is, counted from 1 as the kinds' names are."""
    return tuple(kind + 1 for kind in stack.order)


def _kinds(stack: LayerStack) -> Named:
    """The facts of its layers; of several kinds once what they agree on, and by kind what they do not."""
    told = [dict(layer_facts(kind)) for kind in stack.kinds]
    for name in dict.fromkeys(name for facts in told for name in facts):
        values = [facts.get(name) for facts in told]
        if all(value == values[0] for value in values):
            yield name, values[0]
        else:
            yield from ((f"kind {index} {name}", value) for index, value in enumerate(values, 1))


def _step(stage: Stage) -> str:
    return stage.class_name or "gated MLP"
