"""The card of one model (`show`) as data, and as tables. `terminal/card.py` prints it in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from vlm_inspect.core.architecture import Architecture, Attention, Component, Experts, Layer, LayerStack
from vlm_inspect.render.cells import Cell, Line, Table, code, concat, join, plain_text, text
from vlm_inspect.render.facts import flash_attention, mark, parameters
from vlm_inspect.render.text import values
from vlm_inspect.render.text.attention import attention_details, positions_cell
from vlm_inspect.render.text.components import ROLE_NAMES, component_class, layers, numbered_role_names, projector
from vlm_inspect.render.text.fusion import connection_lines, evidence_text, fusion_lines
from vlm_inspect.render.text.layers import attention_class, mlp_cell, passes_text
from vlm_inspect.render.text.stages import embeddings_cell, extra_modules_cell
from vlm_inspect.render.text.steps import activation_name, norm_cell
from vlm_inspect.render.text.warnings import ignored_keys_warning, quantization_text

_MAX_INDICES = 12
# what a model is taken for if its card says nothing, and a kind that says nothing
_PLAIN_KINDS = frozenset({"vision-language", "audio-language", "omni", "other"})
_MAX_BARE_KINDS = 8  # kinds of layers without attention and MLP, such as convolutions

_SOURCES: Mapping[str, str] = {
    "hub": "Hugging Face Hub",
    "local": "local config.json",
    "catalogue": "built-in catalogue",
    "snapshot": "snapshot file",
}
_BUILDERS = {
    "transformers": "transformers class",
    "remote-code": "repository code",
    "header": "checkpoint headers",
    "config": "config.json only",
}


class Section(Struct, frozen=True):
    """A component: its share of the parameters and its properties."""

    title: str
    class_name: Cell
    parameters: int | None
    count: Cell
    """The parameters as text, or the reason why they are unknown."""
    percent: str
    paths: tuple[str, ...]
    lines: tuple[Line, ...]
    evidence: tuple[str, ...] = ()
    """Why the component has its role; only with `explain`."""


class Card(Struct, frozen=True):
    """A model and its components."""

    name: str
    headline: Cell
    """The class and the total, or the reasons why they are unknown."""
    about: tuple[Line, ...]
    total: int | None
    sections: tuple[Section, ...]
    mark: str = ""
    """Follows an uncertain total."""
    absent: tuple[Line, ...] = ()
    """Roles that the model does not have, with the reasons."""
    unknown: tuple[Line, ...] = ()
    """Roles that could not be determined, with the reasons."""
    ties: tuple[Cell, ...] = ()
    notes: tuple[str, ...] = ()
    warning: str = ""
    """Why this may not be the model; empty if nothing indicates that."""


def build_card(architecture: Architecture, *, name: str | None = None, explain: bool = False) -> Card:
    """The card of a model; `explain` adds the evidence for the role of each component."""
    return Card(
        name=name or architecture.model.id,
        headline=_headline(architecture),
        about=(*_about(architecture), *fusion_lines(architecture, explain=explain)),
        total=architecture.parameters.total,
        sections=tuple(_sections(architecture, explain=explain)),
        mark=mark(architecture),
        absent=_roles(architecture.absent),
        unknown=_roles(architecture.unknown),
        ties=tie_cells(architecture.parameters.ties),
        notes=(*_doubt(architecture), *architecture.notes),
        warning=ignored_keys_warning(architecture) or "",
    )


def card_tables(card: Card) -> tuple[Table, ...]:
    """The card as tables: the model, its components, their properties, tied parameters and evidence."""
    warning = [("Warning", text(card.warning))] if card.warning else []
    about = [("Summary", card.headline), *warning, *card.about]
    details = (
        (text(section.title), text(label.strip()), cell) for section in card.sections for label, cell in section.lines
    )
    evidence = ((text(each.title), text(reason)) for each in card.sections for reason in each.evidence)
    tables = (
        Table(("Model", "Value"), tuple((text(label), cell) for label, cell in about), card.name),
        _component_table(card),
        Table(("Component", "Property", "Value"), tuple(details), "Details"),
        Table(("Counted once",), tuple((tie,) for tie in card.ties), "Tied parameters"),
        Table(("Component", "Reason"), tuple(evidence), "Evidence"),
    )
    return tuple(table for table in tables if table.rows)


def component_lines(component: Component) -> Iterator[Line]:
    """A component's properties: sizes, embeddings, steps, and the parts of each kind of layer."""
    if component.width:
        yield "Hidden size", text(str(component.width))
    if component.image and component.image.size:
        yield "Image size", text(f"{values.dimensions(component.image.size)} pixels")
    elif component.image and "size" in component.image.unknown:
        yield "Image size", values.missing("size", component.image.unknown)
    yield from _active_line(component.active, component.parameters, component.unknown)
    yield from _quantized_line(component)
    if component.embeddings:
        yield "Embeddings", embeddings_cell(component.embeddings)
    yield from _stage_lines(component)
    if component.head:
        yield "Weight", concat(text("tied to "), code(component.head.tied_to))
    if len(component.layers) > 1 or "stacks" in component.unknown:
        yield "Layers", layers(component)
    if component.extra_modules:
        yield "Other modules", extra_modules_cell(component)
    for stack in component.stacks:
        yield from _stack_lines(stack, is_named=len(component.stacks) > 1)


def _stage_lines(component: Component) -> Iterator[Line]:
    if component.stages:
        yield "Layers", projector(component)
    if "stage_order" in component.unknown:
        yield "Order of use", values.missing("stage_order", component.unknown)


def tie_cells(groups: Sequence[Sequence[str]]) -> tuple[Cell, ...]:
    """`` `lm_head.weight` = `embed_tokens.weight` ``; `` `encoder` = `decoder` (626 parameters) ``."""
    by_subtrees: dict[tuple[str, ...], list[Sequence[str]]] = {}
    for group in groups:
        by_subtrees.setdefault(_shared_subtrees(group), []).append(group)
    return tuple(
        join(map(code, members[0]), " = ")
        if len(members) == 1
        else concat(join(map(code, subtrees), " = "), text(f" ({values.plural(len(members), 'parameter')})"))
        for subtrees, members in by_subtrees.items()
    )


def _shared_subtrees(group: Sequence[str]) -> tuple[str, ...]:
    """The paths of a tie without the names at their ends that they have in common."""
    parts = [path.split(".") for path in group]
    while min(map(len, parts)) > 1 and len({names[-1] for names in parts}) == 1:
        parts = [names[:-1] for names in parts]
    return tuple(".".join(names) for names in parts)


def _doubt(architecture: Architecture) -> Iterator[str]:
    """The footnote of an uncertain count."""
    if architecture.parameters.uncertain:
        yield f"{values.UNCERTAIN.strip()} {architecture.parameters.uncertain}"


def _headline(architecture: Architecture) -> Cell:
    name, count = architecture.model_class, parameters(architecture)
    class_name = code(name) if name else values.missing("model_class", architecture.unknown)
    if architecture.parameters.total is None:
        return concat(class_name, text(", parameters "), count)
    return concat(class_name, text(", "), count, text(" parameters"))


def _about(architecture: Architecture) -> Iterator[Line]:
    if architecture.model_type:
        yield "Model type", code(architecture.model_type)
    if architecture.kind and architecture.kind not in _PLAIN_KINDS:
        yield "Kind", text(architecture.kind)
    if architecture.model.revision:
        yield "Commit", code(architecture.model.revision)
    yield "Source", text(_SOURCES[architecture.model.source])
    libraries = {name: version for name, version in architecture.versions.items() if name != "vlm_inspect"}
    versions = ", ".join(f"{name} {version}" for name, version in libraries.items())
    yield "Built from", text(_BUILDERS[architecture.builder] + (f" ({versions})" if versions else ""))
    if any(part.active != part.parameters or "active" in part.unknown for part in architecture.components):
        for label, cell in _active_line(architecture.parameters.active, None, architecture.parameters.unknown):
            yield label, concat(cell, text(mark(architecture)))
    yield "Flash attention", flash_attention(architecture)
    if architecture.quantization:
        yield "Quantization", text(quantization_text(architecture.quantization))


def _quantized_line(component: Component) -> Iterator[Line]:
    if component.quantized_parameters and component.parameters:
        share = values.share(component.quantized_parameters, component.parameters)
        yield "Quantized", text(f"{share} of its parameters (stored as {', '.join(component.stored_bytes)})")


def _active_line(active: int | None, total: int | None, reasons: Mapping[str, str]) -> Iterator[Line]:
    """`3,353,032,704 parameters per token`, if a token does not use all of them."""
    if active is not None and active != total:
        # the whole model's are those of two parts; the weights count, not how often they are applied
        parts = "text token (language model and LM head, each weight once)" if total is None else "token"
        yield "Active", text(f"{values.exact_count(active)} parameters per {parts}")
    elif active is None and "active" in reasons:
        yield "Active", values.missing("active", reasons)


def _sections(architecture: Architecture, *, explain: bool) -> Iterator[Section]:
    total = architecture.parameters.total
    titles = numbered_role_names([component.role for component in architecture.components])
    for title, component in zip(titles, architecture.components, strict=True):
        count = component.parameters
        yield Section(
            title=title,
            class_name=component_class(component),
            parameters=count,
            count=values.count_cell(count, "parameters", component.unknown),
            percent=values.share(count, total) if count is not None and total else "",
            paths=component.paths,
            lines=(*_connections(component, architecture), *component_lines(component)),
            evidence=tuple(map(evidence_text, component.evidence)) if explain else (),
        )


def _connections(component: Component, architecture: Architecture) -> Iterator[Line]:
    """How a projector is connected, if there are several."""
    if component.connection and len(architecture.by_role(component.role)) > 1:
        yield from connection_lines(component.connection)


def _roles(reasons: Mapping[str, str]) -> tuple[Line, ...]:
    names = ROLE_NAMES.items()
    return tuple((name, text(reasons[role.value])) for role, name in names if role.value in reasons)


def _component_table(card: Card) -> Table:
    rows = [
        (
            text(section.title),
            section.class_name,
            join(map(code, section.paths), ", ") or values.NOT_APPLICABLE,
            section.count,
            text(section.percent),
        )
        for section in card.sections
    ]
    dash = values.NOT_APPLICABLE
    rows += [(text(name), values.ABSENT, dash, dash, dash) for name, _ in card.absent]
    rows += [(text(name), values.unknown(plain_text(reason)), dash, dash, dash) for name, reason in card.unknown]
    if card.total is not None:
        total = text(values.exact_count(card.total) + card.mark)
        rows.append((text("Total"), dash, dash, total, text("100.0 %")))
    return Table(("Component", "Class", "Path", "Parameters", "Share"), tuple(rows), "Components", card.notes)


def _stack_lines(stack: LayerStack, *, is_named: bool) -> Iterator[Line]:
    if is_named:
        yield "Stack", concat(code(stack.path), text(f", {values.plural(stack.count, 'layer')}"))
    if "passes" in stack.unknown:
        yield "Passes", values.missing("passes", stack.unknown)
    elif repeats := passes_text(stack):
        is_repeated = (stack.passes or 0) > 1 or any(loop.passes > 1 for loop in stack.loops)
        yield "Passes", text(f"{repeats}, with one set of weights" if is_repeated else repeats)
    is_bare = not any(kind.attention or kind.mlp for kind in stack.kinds)
    if is_bare and len(stack.kinds) > _MAX_BARE_KINDS:
        classes = dict.fromkeys(kind.class_name for kind in stack.kinds if kind.class_name)
        counts = text(f"{values.plural(stack.count, 'layer')} of {len(stack.kinds)} kinds: ")
        yield "Layers", concat(counts, join(map(code, classes), ", "))
        return
    for index, kind in enumerate(stack.kinds):
        yield "Layer", _layer(stack, index)
        if not (kind.attention or kind.mlp or kind.unknown):
            continue
        yield from _attention_lines("Attention", kind.attention, kind)
        for extra in kind.extra_attention:
            yield from _attention_lines("Also", extra, kind)
        yield "  MLP", _mlp(kind)
        for experts in kind.mlp.experts if kind.mlp else ():
            yield "  Experts", _experts(experts)
        yield "  Norms", _norms(kind)


def _layer(stack: LayerStack, kind: int) -> Cell:
    """`` 24 x `CLIPEncoderLayer`, 12,596,224 parameters each ``."""
    layer = stack.kinds[kind]
    count = stack.order.count(kind) if stack.order else stack.count
    size = f", {values.exact_count(layer.parameters)} parameters each" if layer.parameters is not None else ""
    prefix = f"{count} x " if layer.class_name else f"{values.plural(count, 'layer')}, class "
    return concat(text(prefix), values.class_cell(layer.class_name, layer.unknown), text(size + _indices(stack, kind)))


def _indices(stack: LayerStack, kind: int) -> str:
    """`, at 3, 8, 13`: the indices of the layers of a kind, except the most frequent one."""
    indices = [str(index) for index, each in enumerate(stack.order) if each == kind]
    if len(indices) == max((stack.order.count(each) for each in stack.order), default=0):
        return ""
    shown = indices[:_MAX_INDICES] + (["…"] if len(indices) > _MAX_INDICES else [])
    return f", at {', '.join(shown)}"


def _attention_lines(label: str, attention: Attention | None, kind: Layer) -> Iterator[Line]:
    if attention is None:
        yield f"  {label}", attention_class(kind)
        return
    details = attention_details(attention)
    class_name = values.class_cell(attention.class_name, attention.unknown)
    yield f"  {label}", concat(class_name, text(", "), details) if details else class_name
    positions = positions_cell(attention)
    if positions is not None:
        yield "  Positions", positions


def _mlp(layer: Layer) -> Cell:
    mlp = layer.mlp
    if mlp is None or mlp.class_name is None:
        return mlp_cell(layer)
    gated = ", gated" if mlp.gated else ""
    activation = f", {activation_name(mlp.activation)}" if mlp.activation else ""
    return concat(mlp_cell(layer), text(gated + activation))


def _experts(experts: Experts) -> Cell:
    """`` width 768, 4,718,592 parameters each, router `TopKRouter` (softmax), shared width 2048 ``."""
    parts: list[Cell] = []
    if experts.hidden_width:
        parts.append(text(f"width {experts.hidden_width}"))
    if experts.parameters is not None:
        parts.append(text(f"{values.exact_count(experts.parameters)} parameters each"))
    if experts.per_token is None:
        parts.append(concat(text("per token "), values.missing("per_token", experts.unknown)))
    if experts.router:
        scoring = f" ({experts.scoring})" if experts.scoring else ""
        parts.append(concat(text("router "), code(experts.router), text(scoring)))
    if experts.shared_width:
        parts.append(text(f"shared width {experts.shared_width}"))
    return join(parts, ", ")


def _norms(layer: Layer) -> Cell:
    """`` `LlamaRMSNorm` (eps=1e-05) as input_layernorm, before attention and MLP ``."""
    if not layer.norms:
        return values.missing("norms", layer.unknown, otherwise=text("none"))
    names: dict[Cell, list[str]] = {}
    for norm in layer.norms:
        cell = norm_cell(norm)
        eps = f" (eps={norm.eps})" if cell[0].code and norm.eps is not None else ""
        names.setdefault(concat(cell, text(eps)), []).append(norm.name)
    groups = (concat(norm, text(_norm_names(members))) for norm, members in names.items())
    return concat(join(groups, "; "), _norm_placement(layer))


def _norm_names(names: Sequence[str]) -> str:
    known = [name for name in names if name]
    return f" as {', '.join(known)}" if known else f" x {len(names)}"


def _norm_placement(layer: Layer) -> Cell:
    """`, before attention and MLP`, as in the layer's own code."""
    if layer.norm_placement is None:
        reason = values.missing("norm_placement", layer.unknown, otherwise=())
        return concat(text(", placement "), reason) if reason else ()
    parts = [layer.attention.mechanism if layer.attention else "", "MLP" if layer.mlp else ""]
    position = "before and after" if layer.norm_placement == "both" else layer.norm_placement
    parallel = ", in parallel" if layer.parallel else ""
    return text(f", {position} {' and '.join(part for part in parts if part)}{parallel}")
