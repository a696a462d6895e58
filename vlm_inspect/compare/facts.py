"""A component as named facts: what is compared, and what a change is called."""

from __future__ import annotations

from collections.abc import Iterator

from vlm_inspect.architecture import (
    Architecture,
    BlockStage,
    Component,
    ConvStage,
    EmbeddingStage,
    Layer,
    LayerStack,
    LinearStage,
    MlpStage,
    Quantization,
    Role,
    Stage,
)
from vlm_inspect.compare.known import (
    COMPONENT_FIELDS,
    Facts,
    renamed,
)
from vlm_inspect.compare.layer_facts import layer_facts, unknown_of_layer
from vlm_inspect.difference import Value

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
