"""The facts of a model and its components by name: what `compare` compares, and the names of changes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import get_args

from msgspec import Struct, field

from vlm_inspect.core import architecture as records
from vlm_inspect.core.difference import KindValue, PlainValue, Value
from vlm_inspect.core.layer_kinds import kind_names
from vlm_inspect.core.stages import BlockStage, ConvStage, EmbeddingStage, LinearStage, MlpStage, Stage

Named = Iterator[tuple[str, Value | None]]
PlainFacts = Iterator[tuple[str, PlainValue | None]]

# prefixes of facts about one of several attention modules or groups of experts
_PREFIX = re.compile(r"^(mixer \d+ )?((text|vision|group \d+) (?=expert|shared|router))?")

# record fields that may be unknown → names of the facts in them, where they differ
_COMPONENT_FIELDS = {"class_name": "class", "stacks": "layers", "stage_order": "steps"}
_LAYER_FIELDS = {"class_name": "layer class", "mlp": "MLP", "norm_placement": "norm placement"}
_ATTENTION_FIELDS = {
    "class_name": "attention",
    "kind": "attention kind",
    "key_value_heads": "key-value heads",
    "cross": "cross-attention",
    "qk_norm": "q/k norm",
    "bias": "attention bias",
    "positions": "attention positions",
    "rotary": "rotary kind",
}
_NORM_FIELDS = {"class_name": "norm", "eps": "norm eps"}
_EXPERT_FIELDS = {"per_token": "experts per token", "parameters": "expert parameters"}
_MLP_FIELDS = {"class_name": "MLP", "activation": "activation", "experts": "experts"}

GROUPS = frozenset({"embeddings", "stages", "inputs"})
"""Record fields that are not facts: if one is unknown, the facts in it are."""


class Facts(Struct, frozen=True):
    """Facts by name in their order, and reasons for unknown facts."""

    known: Mapping[str, Value] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)
    not_inspected: str | None = None
    """The reason if no module was inspected: then every other fact is unknown."""

    def why_unknown(self, name: str) -> str | None:
        """The reason if a fact is unknown; None if it is known or absent."""
        if name in self.unknown:
            return self.unknown[name]
        if name in self.known:
            return None
        bare = _PREFIX.sub("", name)
        reasons = {_PREFIX.sub("", other): reason for other, reason in self.unknown.items()}
        fields = (bare, *_FIELDS_OF.get(bare, ()))
        return next((reasons[field] for field in fields if field in reasons), self.not_inspected)


def model_facts(architecture: records.Architecture, *, with_ignored_keys: bool = True) -> Facts:
    """The facts of the whole model, without its number of parameters, which other facts determine."""
    named: dict[str, Value | None] = {
        "model class": architecture.model_class,
        "model type": architecture.model_type,
    }
    unknown = {
        name.replace("_", " "): reason for name, reason in architecture.unknown.items() if name.startswith("model_")
    }
    if "inputs" in architecture.unknown:
        unknown["inputs"] = architecture.unknown["inputs"]
    if (quantization := architecture.quantization) is not None:  # the packing of the weights is not compared
        widths = dict.fromkeys(each.bits for each in quantization.groups or (quantization,) if each.bits)
        bits = f", {' and '.join(map(str, widths))} bits" if widths else ""
        named["quantization"] = f"{quantization.method}{bits}"
    for each in architecture.inputs:
        names = {"steps": f"{each.modality} fusion", "token_id": f"{each.modality} token"}
        named |= {names["steps"]: each.steps or None, names["token_id"]: each.token_id}
        unknown |= {names[field]: reason for field, reason in each.unknown.items()}
    if with_ignored_keys:
        named["ignored config keys"] = tuple(key.path for key in architecture.ignored_structural_keys) or None
    if "total" in architecture.parameters.unknown:
        unknown["parameters"] = architecture.parameters.unknown["total"]
    return Facts({name: value for name, value in named.items() if value is not None}, unknown)


def component_facts(component: records.Component) -> Facts:
    """The facts of a component, without its number of parameters, which other facts determine."""
    known = {name: value for name, value in _known(component) if value not in (None, (), "")}
    unknown = _by_fact(component.unknown, _COMPONENT_FIELDS)
    if component.image is not None:
        unknown |= _by_fact(component.image.unknown, {}, part="image ")
    unknown.pop("active", None)  # the experts determine it
    # a component that was not inspected has no path, and its class is unknown for the same reason
    not_inspected = unknown.pop("paths", unknown.get("parameters"))
    unknown |= dict(_unknown_classes(component))
    for _, stack in _stacks(component):
        unknown |= _by_fact(stack.unknown, {})
    for _, layer in _layers(component):
        unknown |= _unknown_layer_facts(layer)
    return Facts(known, unknown, not_inspected)


def _by_fact(reasons: Mapping[str, str], names: Mapping[str, str], prefix: str = "", part: str = "") -> dict[str, str]:
    """Reasons by names of facts instead of names of record fields."""
    return {prefix + names.get(name, part + name.replace("_", " ")): reason for name, reason in reasons.items()}


def _unknown_classes(component: records.Component) -> Iterator[tuple[str, str]]:
    """The facts about stages and modules whose classes are unknown."""
    extra = ((stage, _module_fact(stage)) for stage in component.extra_modules)
    for stage, name in (*((stage, "steps") for stage in component.stages), *extra):
        if "class_name" in stage.unknown:
            yield name, stage.unknown["class_name"]


def _known(component: records.Component) -> Named:
    yield "class", component.class_name
    yield "layers", component.layer_count
    yield "width", component.width
    if component.role is records.Role.LM_HEAD:
        yield from _head(component)
    elif component.role in {records.Role.PROJECTOR, records.Role.TASK_HEAD}:
        yield from _projector(component.stages)
    else:
        yield from _embeddings(component)
    for stage in component.extra_modules:
        yield _module_fact(stage), stage.class_name or "gated MLP"
    yield from _facts_of_layers(component)


def _module_fact(stage: Stage) -> str:
    return f"module {stage.path.rpartition('.')[2]}"


def _head(component: records.Component) -> Named:
    linear = next((stage for stage in component.stages if isinstance(stage, LinearStage)), None)
    if linear is not None:
        yield "input width", linear.in_features
        yield "vocabulary", linear.out_features
    yield "tied", component.head is not None
    yield "steps", tuple(stage.class_name or "gated MLP" for stage in component.stages if stage is not linear)


def _projector(stages: Sequence[Stage]) -> Named:
    """Its first, last and inner widths, and the classes of its stages."""
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
        yield "steps", tuple(stage.class_name or "gated MLP" for stage in stages)
    blocks = [stage for stage in stages if isinstance(stage, BlockStage)]
    yield "query tokens", next((block.num_queries for block in blocks if block.num_queries), None)
    yield "resampler layers", next((block.num_layers for block in blocks if block.num_layers), None)


def _embeddings(component: records.Component) -> Named:
    tables = [stage for stage in component.embeddings if isinstance(stage, EmbeddingStage)]
    tables = [table for table in tables if table.num_embeddings is not None]
    is_text = component.role is records.Role.LANGUAGE_MODEL
    patches = (stage for stage in component.embeddings if isinstance(stage, ConvStage | LinearStage))
    if not is_text and (patch := next(patches, None)) is not None:
        yield "patch projection", patch.class_name
        if isinstance(patch, ConvStage):
            yield "patch size", patch.kernel_size
            yield "input channels", patch.in_channels
    if tables:
        yield "vocabulary" if is_text else "positions", tables[0].num_embeddings
        yield "embedding class", tables[0].class_name if is_text else None
    yield "other embeddings", tuple(str(table.num_embeddings) for table in tables[1:])
    yield "image size", component.image.size if component.image is not None else None


def _facts_of_layers(component: records.Component) -> Named:
    """The order of the kinds of layers, and the facts of all kinds and stacks, each once."""
    stacks = {(name, ""): stack for name, stack in _stacks(component)}
    yield "layer order", _by_kind({name: _order(stack) for name, stack in stacks.items()})
    yield "passes", _by_kind({name: stack.passes if stack.passes != 1 else None for name, stack in stacks.items()})
    yield "loops", _by_kind({name: _loops(stack) for name, stack in stacks.items()})
    by_kind = {names: dict(layer_facts(layer)) for names, layer in _layers(component)}
    for fact in dict.fromkeys(fact for facts in by_kind.values() for fact in facts):
        yield fact, _by_kind({names: facts.get(fact) for names, facts in by_kind.items()})


def _by_kind(values: Mapping[tuple[str, str], PlainValue | None]) -> Value | None:
    """The value of all layers if it is the same, else of each stack, of each kind, or of each kind of each stack."""
    of_all = _values_by(lambda _: "", values)
    if of_all is not None:
        return of_all.get("")
    of_stacks, of_kinds = (_values_by(itemgetter(index), values) for index in (0, 1))
    if of_stacks is None and (of_kinds is None or "" in of_kinds):
        of_kinds = _values_by(lambda names: ", ".join(filter(None, names)), values)
    by_name = of_stacks or of_kinds or {}
    stated = [KindValue(name, value) for name, value in by_name.items() if value not in (None, (), "")]
    return tuple(sorted(stated, key=lambda each: each.kind))


def _values_by(
    name: Callable[[tuple[str, str]], str], values: Mapping[tuple[str, str], PlainValue | None]
) -> dict[str, PlainValue | None] | None:
    """The values by the names of layers; None if layers of one name have several."""
    found: dict[str, PlainValue | None] = {}
    for names, value in values.items():
        if found.setdefault(name(names), value) != value:
            return None
    return found


def _order(stack: records.LayerStack) -> tuple[str, ...]:
    names = _kind_names(stack.kinds)
    return tuple(names[kind] for kind in stack.order)


def _loops(stack: records.LayerStack) -> tuple[str, ...]:
    return tuple(f"layers {each.first} to {each.last} x {each.passes}" for each in stack.loops)


def _stacks(component: records.Component) -> Iterator[tuple[str, records.LayerStack]]:
    """The stacks by name: the part of their path in which they differ; empty for a single stack."""
    paths = [stack.path.split(".") for stack in component.stacks]
    start, end = (_common(paths), _common([path[::-1] for path in paths])) if len(paths) > 1 else (0, 0)
    for number, (path, stack) in enumerate(zip(paths, component.stacks, strict=True), 1):
        # a number alone is no name: `blocks.0`
        start_of_name = start - 1 if start and path[start : start + 1] and path[start].isdigit() else start
        name = ".".join(path[start_of_name : len(path) - end]) or path[-1] or f"stack {number}"
        yield name if len(paths) > 1 else "", stack


def _common(paths: Sequence[list[str]]) -> int:
    """The number of names at the start of all paths."""
    first, last = min(paths), max(paths)
    return next((index for index, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), 0)


def _layers(component: records.Component) -> Iterator[tuple[tuple[str, str], records.Layer]]:
    """The kinds of layers by the names of their stack and kind; empty names for a single one."""
    for stack_name, stack in _stacks(component):
        for name, layer in zip(_kind_names(stack.kinds), stack.kinds, strict=True):
            yield (stack_name, name), layer


def _kind_names(kinds: Sequence[records.Layer]) -> Sequence[str]:
    """The name of each kind, which is the same in a model of the same structure and other sizes."""
    if len(kinds) == 1:
        return [""]
    names = kind_names(kinds, with_sizes=False)
    if names is None:
        return [f"kind {number}" for number in range(1, len(kinds) + 1)]
    return [", ".join(map(str, name)) for name in names]


def layer_facts(layer: records.Layer) -> PlainFacts:
    """The facts of a layer's attention, MLP and norms; of a second attention with the prefix `mixer 2`."""
    yield "layer class", layer.class_name
    if layer.attention is not None:
        yield from _attention(layer.attention)
    for number, extra in enumerate(layer.extra_attention, 2):
        yield from ((f"mixer {number} {name}", value) for name, value in _attention(extra))
    if layer.mlp is not None:
        yield from _mlp(layer.mlp)
    if all(norm.class_name for norm in layer.norms):
        yield "norm", tuple(dict.fromkeys(norm.class_name or "" for norm in layer.norms))
    eps = sorted({norm.eps for norm in layer.norms if norm.eps is not None})
    yield "norm eps", eps[0] if len(eps) == 1 else " / ".join(map(repr, eps))
    yield "norms", tuple(norm.name for norm in layer.norms)
    yield "norm placement", layer.norm_placement
    yield "parallel", layer.parallel or None


def _unknown_layer_facts(layer: records.Layer) -> dict[str, str]:
    """Reasons for unknown facts of a layer, without `active`, which other facts determine."""
    unknown = _by_fact({k: v for k, v in layer.unknown.items() if k != "active"}, _LAYER_FIELDS)
    for norm in layer.norms:
        unknown |= _by_fact(norm.unknown, _NORM_FIELDS, part="norm ")
    if layer.attention is not None:
        unknown |= _by_fact(layer.attention.unknown, _ATTENTION_FIELDS)
    for number, extra in enumerate(layer.extra_attention, 2):
        unknown |= _by_fact(extra.unknown, _ATTENTION_FIELDS, f"mixer {number} ")
    if layer.mlp is not None:
        unknown |= _by_fact(layer.mlp.unknown, _MLP_FIELDS, part="MLP ")
        for prefix, experts in _expert_groups(layer.mlp):
            unknown |= _by_fact(experts.unknown, _EXPERT_FIELDS, prefix)
    return unknown


def _expert_groups(mlp: records.Mlp) -> Iterator[tuple[str, records.Experts]]:
    """The groups of experts with their prefix, which is empty for a single group."""
    has_several = len(mlp.experts) > 1
    for number, experts in enumerate(mlp.experts, 1):
        yield (f"{experts.modality or f'group {number}'} " if has_several else ""), experts


def _attention(attention: records.Attention) -> PlainFacts:
    yield "attention", attention.class_name
    yield "mechanism", attention.mechanism if attention.mechanism != "attention" else None
    yield "attention kind", attention.kind
    yield "heads", attention.heads
    yield "key heads", attention.key_heads
    yield "key-value heads", attention.key_value_heads
    yield "head width", attention.head_width
    yield "cross-attention", attention.cross or None
    yield "sliding window", attention.sliding_window
    yield "attention chunk", attention.chunk
    yield "attention window", attention.window
    if attention.latent is not None:
        yield "key-value rank", attention.latent.key_value_rank
        yield "query rank", attention.latent.query_rank
        yield "value width", attention.latent.value_width
    yield "q/k norm", tuple(dict.fromkeys(norm.class_name or "" for norm in attention.qk_norm))
    yield "q/k norm width", next((norm.width for norm in attention.qk_norm), None)
    yield "attention bias", attention.bias
    yield "attention positions", attention.positions
    if attention.rotary is not None:
        yield "rotary kind", attention.rotary.kind
        yield "rotary width", attention.rotary.width
        yield "rotary sections", attention.rotary.sections
        yield "rotary base", attention.rotary.theta
        yield "rotary factor", attention.rotary.factor
    yield "attention features", attention.features
    yield "state width", attention.state_width
    yield "convolution", attention.convolution


def _mlp(mlp: records.Mlp) -> PlainFacts:
    yield "MLP", mlp.class_name or (None if "class_name" in mlp.unknown else "Linears of the layer")
    yield "MLP hidden width", mlp.hidden_width
    yield "MLP gated", mlp.gated
    yield "activation", mlp.activation
    for prefix, experts in _expert_groups(mlp):
        yield from ((prefix + name, value) for name, value in _experts(experts))


def _experts(experts: records.Experts) -> PlainFacts:
    yield "experts", experts.count
    yield "experts per token", experts.per_token
    yield "expert width", experts.hidden_width
    yield "shared experts", experts.shared
    yield "shared expert width", experts.shared_width
    yield "router", experts.router
    yield "router scoring", experts.scoring


def _names(facts: PlainFacts) -> tuple[str, ...]:
    return tuple(name for name, _ in facts)


_LONGEST_ATTENTION = records.Attention(latent=records.Latent(0), rotary=records.Rotary())
_INPUT_FACTS = (f"{each} {fact}" for each in get_args(records.Modality) for fact in ("fusion", "token"))
# fact → record fields without which it is unknown, the narrowest first
_FIELDS_OF = {
    **dict.fromkeys(("embedding class", "patch projection", "patch size", "input channels"), ("embeddings",)),
    **dict.fromkeys(("positions", "other embeddings"), ("embeddings",)),
    **dict.fromkeys(("input width", "output width", "inner widths", "vocabulary"), ("stages", "embeddings")),
    **dict.fromkeys(("steps", "query tokens", "resampler layers"), ("stages", "embeddings")),
    **dict.fromkeys(_names(_attention(_LONGEST_ATTENTION)), ("attention", "layers")),
    **dict.fromkeys(_names(_mlp(records.Mlp())), ("MLP", "layers")),
    **dict.fromkeys(_names(_experts(records.Experts(0))), ("experts", "MLP", "layers")),
    **dict.fromkeys(("norm", "norm eps", "norms", "norm placement", "parallel"), ("norms", "layers")),
    **dict.fromkeys(("layer class", "layer order", "passes", "loops"), ("layers",)),
    **dict.fromkeys(_INPUT_FACTS, ("inputs",)),
}
