"""The card of one model (`show`) as data, and as tables. `terminal/card.py` prints it in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from vlm_inspect.core.architecture import (
    Architecture,
    Attention,
    Component,
    Experts,
    ImageInput,
    Layer,
    LayerStack,
    Norm,
)
from vlm_inspect.render.cells import Cell, Line, Table, code, concat, join, plain_text, text
from vlm_inspect.render.facts import flash_attention, parameters
from vlm_inspect.render.text.attention import attention_details, positions_cell
from vlm_inspect.render.text.components import ROLE_NAMES, component_class, layers
from vlm_inspect.render.text.fusion import fusion_lines
from vlm_inspect.render.text.layers import attention_class, mlp_cell
from vlm_inspect.render.text.steps import (
    activation_name,
    embeddings_cell,
    extra_modules_cell,
    norm_cell,
    stages_cell,
)
from vlm_inspect.render.text.values import (
    ABSENT,
    NOT_APPLICABLE,
    class_cell,
    dimensions,
    exact_count,
    missing,
    plural,
    share,
    unknown,
)
from vlm_inspect.render.text.warnings import ignored_keys_warning, quantization_text

_MAX_INDICES = 12
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
        absent=tuple(_roles(architecture.absent)),
        unknown=tuple(_roles(architecture.unknown)),
        ties=tie_cells(architecture.parameters.ties),
        notes=architecture.notes,
        warning=ignored_keys_warning(architecture) or "",
    )


def card_tables(card: Card) -> tuple[Table, ...]:
    """The card as tables: the model, its components, their properties, tied parameters and evidence."""
    warning: tuple[Line, ...] = (("Warning", text(card.warning)),) if card.warning else ()
    about: tuple[Line, ...] = (("Summary", card.headline), *warning, *card.about)
    details = ((section.title, *line) for section in card.sections for line in section.lines)
    evidence = ((section.title, reason) for section in card.sections for reason in section.evidence)
    tables = (
        Table(("Model", "Value"), tuple((text(label), cell) for label, cell in about), card.name),
        _component_table(card),
        Table(
            ("Component", "Property", "Value"),
            tuple((text(title), text(label.strip()), cell) for title, label, cell in details),
            "Details",
        ),
        Table(("Counted once",), tuple((tie,) for tie in card.ties), "Tied parameters"),
        Table(
            ("Component", "Reason"),
            tuple((text(title), text(reason)) for title, reason in evidence),
            "Evidence",
        ),
    )
    return tuple(table for table in tables if table.rows)


def component_lines(component: Component) -> Iterator[Line]:
    """A component's properties: sizes, embeddings, steps, and the parts of each kind of layer."""
    if component.width:
        yield "Hidden size", text(str(component.width))
    if component.image:
        yield from _image_size_line(component.image)
    yield from _active_line(component.active, component.parameters, component.unknown)
    if component.embeddings:
        yield "Embeddings", embeddings_cell(component.embeddings)
    if component.stages:
        yield "Layers", stages_cell(component.stages)
    if component.head:
        yield "Weight", concat(text("tied to "), code(component.head.tied_to))
    if len(component.layers) > 1 or "stacks" in component.unknown:
        yield "Layers", layers(component)
    if component.extra_modules:
        yield "Other modules", extra_modules_cell(component)
    for stack in component.stacks:
        if len(component.stacks) > 1:
            yield "Stack", concat(code(stack.path), text(f", {plural(stack.count, 'layer')}"))
        yield from _stack_lines(stack)


def _image_size_line(image: ImageInput) -> Iterator[Line]:
    if image.size:
        yield "Image size", text(f"{dimensions(image.size)} pixels")
    elif "size" in image.unknown:
        yield "Image size", missing("size", image.unknown)


def tie_cells(groups: Sequence[Sequence[str]]) -> tuple[Cell, ...]:
    """`` `lm_head.weight` = `embed_tokens.weight` ``; `` `encoder` = `decoder` (626 parameters) ``."""
    by_subtrees: dict[tuple[str, ...], list[Sequence[str]]] = {}
    for group in groups:
        by_subtrees.setdefault(_shared_subtrees(group), []).append(group)
    return tuple(
        _equation(members[0])
        if len(members) == 1
        else concat(_equation(subtrees), text(f" ({plural(len(members), 'parameter')})"))
        for subtrees, members in by_subtrees.items()
    )


def _equation(paths: Sequence[str]) -> Cell:
    return join((code(path) for path in paths), " = ")


def _shared_subtrees(group: Sequence[str]) -> tuple[str, ...]:
    """The paths of a tie without the names at their ends that they have in common."""
    parts = [path.split(".") for path in group]
    while min(map(len, parts)) > 1 and len({names[-1] for names in parts}) == 1:
        parts = [names[:-1] for names in parts]
    return tuple(".".join(names) for names in parts)


# The model


def _headline(architecture: Architecture) -> Cell:
    name = architecture.model_class
    class_name = code(name) if name else missing("model_class", architecture.unknown)
    count = parameters(architecture)
    is_known = architecture.parameters.total is not None
    return concat(
        class_name, text(", "), *((count, text(" parameters")) if is_known else (text("parameters "), count))
    )


def _about(architecture: Architecture) -> Iterator[Line]:
    if architecture.model_type:
        yield "Model type", code(architecture.model_type)
    if architecture.model.revision:
        yield "Commit", code(architecture.model.revision)
    yield "Source", text(_SOURCES[architecture.model.source])
    libraries = {name: version for name, version in architecture.versions.items() if name != "vlm_inspect"}
    versions = ", ".join(f"{name} {version}" for name, version in libraries.items())
    yield "Built from", text(_BUILDERS[architecture.builder] + (f" ({versions})" if versions else ""))
    if any(part.active != part.parameters or "active" in part.unknown for part in architecture.components):
        yield from _active_line(architecture.parameters.active, None, architecture.parameters.unknown)
    yield "Flash attention", flash_attention(architecture)
    if architecture.quantization:
        yield "Quantization", text(quantization_text(architecture.quantization))


def _active_line(active: int | None, total: int | None, reasons: Mapping[str, str]) -> Iterator[Line]:
    """`3,353,032,704 parameters per token`, if a token does not use all of them."""
    if active is not None and active != total:
        yield "Active", text(f"{exact_count(active)} parameters per token")
    elif active is None and "active" in reasons:
        yield "Active", missing("active", reasons)


def _sections(architecture: Architecture, *, explain: bool) -> Iterator[Section]:
    total = architecture.parameters.total
    for title, component in _titled(architecture.components):
        count = component.parameters
        yield Section(
            title=title,
            class_name=component_class(component),
            parameters=count,
            count=missing("parameters", component.unknown) if count is None else text(exact_count(count)),
            percent=share(count, total) if count is not None and total else "",
            paths=component.paths,
            lines=tuple(component_lines(component)),
            evidence=tuple(
                f"{each.finding}, by {each.rule}: {each.detail}" for each in component.evidence if explain
            ),
        )


def _titled(components: Sequence[Component]) -> Iterator[tuple[str, Component]]:
    """Each component with the name of its role, numbered if there are several."""
    roles = [component.role for component in components]
    for index, component in enumerate(components):
        number = f" {roles[: index + 1].count(component.role)}" if roles.count(component.role) > 1 else ""
        yield ROLE_NAMES[component.role] + number, component


def _roles(reasons: Mapping[str, str]) -> Iterator[Line]:
    for role, name in ROLE_NAMES.items():
        if role.value in reasons:
            yield name, text(reasons[role.value])


def _component_table(card: Card) -> Table:
    rows = [
        (
            text(section.title),
            section.class_name,
            join((code(path) for path in section.paths), ", ") if section.paths else NOT_APPLICABLE,
            section.count,
            text(section.percent),
        )
        for section in card.sections
    ]
    dashes = (NOT_APPLICABLE, NOT_APPLICABLE, NOT_APPLICABLE)
    rows += [(text(name), ABSENT, *dashes) for name, _ in card.absent]
    rows += [(text(name), unknown(plain_text(reason)), *dashes) for name, reason in card.unknown]
    if card.total is not None:
        rows.append(
            (text("Total"), NOT_APPLICABLE, NOT_APPLICABLE, text(exact_count(card.total)), text("100.0 %"))
        )
    headers = ("Component", "Class", "Path", "Parameters", "Share")
    return Table(headers, tuple(rows), title="Components", notes=card.notes)


# Stacks and layers


def _stack_lines(stack: LayerStack) -> Iterator[Line]:
    is_bare = not any(kind.attention or kind.mlp for kind in stack.kinds)
    if is_bare and len(stack.kinds) > _MAX_BARE_KINDS:
        classes = dict.fromkeys(kind.class_name for kind in stack.kinds if kind.class_name)
        counts = text(f"{plural(stack.count, 'layer')} of {len(stack.kinds)} kinds: ")
        yield "Layers", concat(counts, join((code(name) for name in classes), ", "))
        return
    for index, kind in enumerate(stack.kinds):
        yield "Layer", _layer(stack, index)
        if kind.attention or kind.mlp or kind.unknown:
            yield from _kind_lines(kind)


def _layer(stack: LayerStack, kind: int) -> Cell:
    """`` 24 x `CLIPEncoderLayer`, 12,596,224 parameters each ``."""
    layer = stack.kinds[kind]
    count = stack.order.count(kind) if stack.order else stack.count
    size = f", {exact_count(layer.parameters)} parameters each" if layer.parameters is not None else ""
    details = text(size + _indices(stack, kind))
    if layer.class_name is None:
        return concat(text(f"{plural(count, 'layer')}, class "), class_cell(None, layer.unknown), details)
    return concat(text(f"{count} x "), code(layer.class_name), details)


def _indices(stack: LayerStack, kind: int) -> str:
    """`, at 3, 8, 13`: the indices of the layers of a kind, except the most frequent one."""
    indices = [str(index) for index, each in enumerate(stack.order) if each == kind]
    if len(indices) == max((stack.order.count(each) for each in stack.order), default=0):
        return ""
    shown = indices[:_MAX_INDICES] + (["…"] if len(indices) > _MAX_INDICES else [])
    return f", at {', '.join(shown)}"


def _kind_lines(kind: Layer) -> Iterator[Line]:
    yield from _attention_lines("Attention", kind.attention, kind)
    for extra in kind.extra_attention:
        yield from _attention_lines("Also", extra, kind)
    yield "  MLP", _mlp(kind)
    for experts in kind.mlp.experts if kind.mlp else ():
        yield "  Experts", _experts(experts)
    yield "  Norms", _norms(kind)


def _attention_lines(label: str, attention: Attention | None, kind: Layer) -> Iterator[Line]:
    if attention is None:
        yield f"  {label}", attention_class(kind)
        return
    details = attention_details(attention)
    class_name = class_cell(attention.class_name, attention.unknown)
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
        parts.append(text(f"{exact_count(experts.parameters)} parameters each"))
    if experts.per_token is None:
        parts.append(concat(text("per token "), missing("per_token", experts.unknown)))
    if experts.router:
        scoring = f" ({experts.scoring})" if experts.scoring else ""
        parts.append(concat(text("router "), code(experts.router), text(scoring)))
    if experts.shared_width:
        parts.append(text(f"shared width {experts.shared_width}"))
    return join(parts, ", ")


def _norms(layer: Layer) -> Cell:
    """`` `LlamaRMSNorm` (eps=1e-05) as input_layernorm, before attention and MLP ``."""
    if not layer.norms:
        return missing("norms", layer.unknown, otherwise=text("none"))
    names: dict[Cell, list[str]] = {}
    for norm in layer.norms:
        names.setdefault(_norm(norm), []).append(norm.name)
    groups = (concat(norm, text(_norm_names(members))) for norm, members in names.items())
    return concat(join(groups, "; "), _norm_placement(layer))


def _norm(norm: Norm) -> Cell:
    cell = norm_cell(norm)
    return concat(cell, text(f" (eps={norm.eps})" if cell[0].code and norm.eps is not None else ""))


def _norm_names(names: Sequence[str]) -> str:
    known = [name for name in names if name]
    return f" as {', '.join(known)}" if known else f" x {len(names)}"


def _norm_placement(layer: Layer) -> Cell:
    """`, before attention and MLP`, as in the layer's own code."""
    if layer.norm_placement is None:
        reason = missing("norm_placement", layer.unknown, otherwise=())
        return concat(text(", placement "), reason) if reason else ()
    parts = [layer.attention.mechanism if layer.attention else "", "MLP" if layer.mlp else ""]
    position = "before and after" if layer.norm_placement == "both" else layer.norm_placement
    parallel = ", in parallel" if layer.parallel else ""
    return text(f", {position} {' and '.join(part for part in parts if part)}{parallel}")
