"""`show`: one model in full, as data. A card becomes a page of tables, or what a terminal shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from vlm_inspect.core.architecture import (
    Architecture,
    Attention,
    Component,
    Experts,
    Layer,
    LayerStack,
    Mlp,
    Norm,
    Role,
)
from vlm_inspect.render.cells import Cell, Table, code, concat, join, plain, text
from vlm_inspect.render.facts import flash_attention, parameters
from vlm_inspect.render.text.attention import attention_words, positions_cell
from vlm_inspect.render.text.components import component_class, layers
from vlm_inspect.render.text.fusion import entry_lines
from vlm_inspect.render.text.layers import attention_class, mlp_cell
from vlm_inspect.render.text.steps import (
    activation_name,
    beside_cell,
    embeddings_cell,
    norm_cell,
    stages_cell,
)
from vlm_inspect.render.text.values import (
    ABSENT,
    NOT_ASKED,
    class_cell,
    counted,
    exact_count,
    missing,
    share,
    square,
    unknown,
)
from vlm_inspect.render.text.warnings import misreading, quantization_words

Line = tuple[str, Cell]

_MOST_PLACES = 12
_MOST_KINDS = 8  # of convolutions, of which only class and size are known


def component_lines(component: Component) -> Iterator[Line]:
    """What it takes in, its layers and what each kind is made of, its steps."""
    if component.width:
        yield "Width", text(str(component.width))
    if component.image and component.image.size:
        yield "Image size", text(f"{square(component.image.size)} pixels")
    elif component.image and "size" in component.image.unknown:
        yield "Image size", missing("size", component.image.unknown)
    yield from active_line(component.active, component.parameters, component.unknown)
    if component.embeddings:
        yield "Embeddings", embeddings_cell(component.embeddings)
    if component.stages:
        yield "Layers", stages_cell(component.stages)
    if component.head:
        yield "Weight", concat(text("tied to "), code(component.head.tied_to))
    if len(component.layers) > 1 or "stacks" in component.unknown:
        yield "Layers", layers(component)
    if component.extra_modules:
        yield "Other modules", beside_cell(component)
    for stack in component.stacks:
        yield from _stack_lines(stack, named=len(component.stacks) > 1)


def active_line(active: int | None, total: int | None, reasons: Mapping[str, str]) -> Iterator[Line]:
    """`3,353,032,704 parameters per token`, where experts make that fewer than all."""
    if active is not None and active == total:
        return
    if active is not None:
        yield "Active", text(f"{exact_count(active)} parameters per token")
    elif "active" in reasons:
        yield "Active", missing("active", reasons)


def _stack_lines(stack: LayerStack, *, named: bool) -> Iterator[Line]:
    if named:
        yield "Stack", concat(code(stack.path), text(f", {counted(stack.count, 'layer')}"))
    if len(stack.kinds) > _MOST_KINDS and not any(kind.attention or kind.mlp for kind in stack.kinds):
        classes = dict.fromkeys(kind.class_name for kind in stack.kinds if kind.class_name)
        kinds = concat(text(f"{counted(stack.count, 'layer')} of {len(stack.kinds)} kinds: "))
        yield "Layers", concat(kinds, join((code(name) for name in classes), ", "))
        return
    for index, kind in enumerate(stack.kinds):
        yield "Layer", _layer(stack, index)
        yield from _kind_lines(kind)


def _kind_lines(kind: Layer) -> Iterator[Line]:
    if kind.attention is None and kind.mlp is None and not kind.unknown:
        return  # a convolution, say: its class and size are all there is
    yield from _attention_lines("Attention", kind.attention, kind)
    for further in kind.extra_attention:
        yield from _attention_lines("Also", further, kind)
    yield "  MLP", _mlp(kind)
    for experts in kind.mlp.experts if kind.mlp else ():
        yield "  Experts", _experts(experts)
    yield "  Norms", _norms(kind)


def _attention_lines(label: str, attention: Attention | None, kind: Layer) -> Iterator[Line]:
    if attention is None:
        yield f"  {label}", attention_class(kind)
        return
    words = attention_words(attention)
    told = class_cell(attention.class_name, attention.unknown)
    yield f"  {label}", concat(told, text(", "), words) if words else told
    positions = positions_cell(attention)
    if positions is not None:
        yield "  Positions", positions


def _experts(experts: Experts) -> Cell:
    """`` 4,718,592 parameters each, chosen by `TopKRouter` (softmax), shared width 2048 ``."""
    words: list[Cell] = []
    if experts.parameters is not None:
        words.append(text(f"{exact_count(experts.parameters)} parameters each"))
    if experts.per_token is None:
        words.append(concat(text("per token "), missing("per_token", experts.unknown)))
    if experts.router:
        scoring = f" ({experts.scoring})" if experts.scoring else ""
        words.append(concat(text("chosen by "), code(experts.router), text(scoring)))
    if experts.shared_width:
        words.append(text(f"shared width {experts.shared_width}"))
    hidden = f"width {experts.hidden_width}" if experts.hidden_width else ""
    return join([*([text(hidden)] if hidden else []), *words], ", ")


def _layer(stack: LayerStack, kind: int) -> Cell:
    """`` 24 x `CLIPEncoderLayer`, 12,596,224 parameters each ``."""
    layer = stack.kinds[kind]
    count = stack.order.count(kind) if stack.order else stack.count
    size = f", {exact_count(layer.parameters)} parameters each" if layer.parameters is not None else ""
    tail = text(size + _places(stack, kind))
    if layer.class_name is None:
        return concat(text(f"{counted(count, 'layer')}, class "), class_cell(None, layer.unknown), tail)
    return concat(text(f"{count} x "), code(layer.class_name), tail)


def _places(stack: LayerStack, kind: int) -> str:
    """Where the layers of a kind are, counted as module paths count; the most frequent kind is the rest."""
    places = [str(index) for index, each in enumerate(stack.order) if each == kind]
    if len(places) == max((stack.order.count(each) for each in stack.order), default=0):
        return ""
    shown = places[:_MOST_PLACES] + (["…"] if len(places) > _MOST_PLACES else [])
    return f", at {', '.join(shown)}"


def _mlp(layer: Layer) -> Cell:
    words = "".join(f", {word}" for word in _mlp_words(layer.mlp))
    return concat(mlp_cell(layer), text(words))


def _mlp_words(mlp: Mlp | None) -> Iterator[str]:
    if mlp is None or mlp.class_name is None:
        return
    if mlp.gated:
        yield "gated"
    if mlp.activation:
        yield activation_name(mlp.activation)


def _norms(layer: Layer) -> Cell:
    if not layer.norms:
        return missing("norms", layer.unknown, otherwise=text("none"))
    groups: dict[Cell, list[str]] = {}
    for norm in layer.norms:
        groups.setdefault(_norm(norm), []).append(norm.name)
    told = join((_named(norm, names) for norm, names in groups.items()), "; ")
    return concat(told, _placement(layer))


def _placement(layer: Layer) -> Cell:
    """`, before attention and MLP`, as the layer's own code has it."""
    if layer.norm_placement is None:
        reason = missing("norm_placement", layer.unknown, otherwise=text(""))
        return concat(text(", placement "), reason) if reason[0].text else text("")
    parts = [layer.attention.mechanism if layer.attention else "", "MLP" if layer.mlp else ""]
    where = "before and after" if layer.norm_placement == "both" else layer.norm_placement
    beside = ", side by side" if layer.parallel else ""
    return text(f", {where} {' and '.join(part for part in parts if part)}{beside}")


def _norm(norm: Norm) -> Cell:
    told = norm_cell(norm)
    eps = f" (eps={norm.eps})" if told[0].code and norm.eps is not None else ""
    return concat(told, text(eps))


def _named(norm: Cell, names: Sequence[str]) -> Cell:
    told = [name for name in names if name]
    return concat(norm, text(f" as {', '.join(told)}" if told else f" x {len(names)}"))


Group = Sequence[str]


def tie_cells(groups: Sequence[Group]) -> tuple[Cell, ...]:
    """`` `lm_head.weight` = `embed_tokens.weight` ``; `` `encoder` = `decoder` (626 parameters) ``."""
    shared: dict[tuple[str, ...], list[Group]] = {}
    for group in groups:
        shared.setdefault(_tops(group), []).append(group)
    return tuple(_cell(tops, below) for tops, below in shared.items())


def _cell(tops: tuple[str, ...], groups: list[Group]) -> Cell:
    if len(groups) == 1:
        return _equal(groups[0])
    return concat(_equal(tops), text(f" ({counted(len(groups), 'parameter')})"))


def _equal(paths: Group) -> Cell:
    return join((code(path) for path in paths), " = ")


def _tops(group: Group) -> tuple[str, ...]:
    """Where the paths of a tie begin to be the same to their ends: what is shared as a whole."""
    parts = [path.split(".") for path in group]
    while min(map(len, parts)) > 1 and len({names[-1] for names in parts}) == 1:
        parts = [names[:-1] for names in parts]
    return tuple(".".join(names) for names in parts)


_ROLE_NAMES = {
    Role.VISION_ENCODER: "Vision encoder",
    Role.AUDIO_ENCODER: "Audio encoder",
    Role.PROJECTOR: "Projector",
    Role.LANGUAGE_MODEL: "Language model",
    Role.LM_HEAD: "LM head",
    Role.TASK_HEAD: "Task head",
    Role.GENERATOR: "Generator",
    Role.OTHER: "Other",
}
_SOURCES: Mapping[str, str] = {
    "hub": "the Hub",
    "local": "a local config.json",
    "catalogue": "the built-in catalogue",
    "snapshot": "a snapshot file",
}
_BUILDERS = {
    "transformers": "transformers' own class",
    "remote-code": "the class in the model's own repo",
    "header": "the checkpoint's headers",
    "config": "the configuration alone",
}


class Section(Struct, frozen=True):
    """One component: its part of the parameters, and what is known of it."""

    title: str
    class_name: Cell
    parameters: int | None
    count: Cell
    """The parameters as text, or why there is no count."""
    percent: str
    paths: tuple[str, ...]
    lines: tuple[Line, ...]
    evidence: tuple[str, ...] = ()
    """Why the component was taken for what it is; empty where nobody asked."""


class Card(Struct, frozen=True):
    """One model, ready to be shown."""

    name: str
    headline: Cell
    """The class and the total in short, or why there is none."""
    about: tuple[Line, ...]
    total: int | None
    sections: tuple[Section, ...]
    absent: tuple[Line, ...] = ()
    """Roles that the model does not have, and how that is known."""
    unknown: tuple[Line, ...] = ()
    """Roles that could not be told, and why."""
    ties: tuple[Cell, ...] = ()
    notes: tuple[str, ...] = ()
    warning: str = ""
    """Why this may not be the model; empty where nothing says so."""


def build_card(architecture: Architecture, *, name: str | None = None, explain: bool = False) -> Card:
    """The card of a model; `explain` adds why each component was taken for what it is."""
    return Card(
        name=name or architecture.model.id,
        headline=_headline(architecture),
        about=(*_about(architecture), *entry_lines(architecture, explain=explain)),
        total=architecture.parameters.total,
        sections=tuple(_sections(architecture, explain=explain)),
        absent=tuple(_roles(architecture.absent)),
        unknown=tuple(_roles(architecture.unknown)),
        ties=tie_cells(architecture.parameters.ties),
        notes=architecture.notes,
        warning=misreading(architecture) or "",
    )


def _headline(architecture: Architecture) -> Cell:
    named = architecture.model_class
    class_name = code(named) if named else missing("model_class", architecture.unknown)
    count = parameters(architecture)
    known = architecture.parameters.total is not None
    return concat(
        class_name, text(", "), *((count, text(" parameters")) if known else (text("parameters "), count))
    )


def _about(architecture: Architecture) -> Iterator[Line]:
    if architecture.model_type:
        yield "Model type", code(architecture.model_type)
    if architecture.model.revision:
        yield "Commit", code(architecture.model.revision)
    yield "Source", text(_SOURCES[architecture.model.source])
    libraries = {name: number for name, number in architecture.versions.items() if name != "vlm_inspect"}
    versions = ", ".join(f"{package} {number}" for package, number in libraries.items())
    yield "Built from", text(_BUILDERS[architecture.builder] + (f" ({versions})" if versions else ""))
    if any(part.active != part.parameters or "active" in part.unknown for part in architecture.components):
        yield from active_line(architecture.parameters.active, None, architecture.parameters.unknown)
    yield "Flash attention", flash_attention(architecture)
    if architecture.quantization:
        yield "Quantization", text(quantization_words(architecture.quantization))


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
            evidence=tuple(_evidence(component)) if explain else (),
        )


def _titled(components: Sequence[Component]) -> Iterator[tuple[str, Component]]:
    """Each component with its role's name, numbered where it is not the only one."""
    roles = [component.role for component in components]
    for index, component in enumerate(components):
        number = f" {roles[: index + 1].count(component.role)}" if roles.count(component.role) > 1 else ""
        yield _ROLE_NAMES[component.role] + number, component


def _evidence(component: Component) -> Iterator[str]:
    for evidence in component.evidence:
        yield f"{evidence.finding}, by {evidence.rule}: {evidence.detail}"


def _roles(reasons: Mapping[str, str]) -> Iterator[Line]:
    for role, name in _ROLE_NAMES.items():
        if role.value in reasons:
            yield name, text(reasons[role.value])


def card_tables(card: Card) -> tuple[Table, ...]:
    """The model, its components, their details, tied parameters and evidence."""
    candidates = (
        _card_tables_about(card),
        _components(card),
        _details(card),
        _single("Tied parameters", "Counted once", card.ties),
        _card_tables_evidence(card),
    )
    return tuple(table for table in candidates if table.rows)


def _card_tables_about(card: Card) -> Table:
    warning: tuple[Line, ...] = (("Warning", text(card.warning)),) if card.warning else ()
    lines: tuple[Line, ...] = (("Summary", card.headline), *warning, *card.about)
    return Table(("Model", "Value"), _rows(lines), title=card.name)


def _components(card: Card) -> Table:
    rows = [
        (text(section.title), section.class_name, _paths(section.paths), section.count, text(section.percent))
        for section in card.sections
    ]
    rows += [(text(name), ABSENT, NOT_ASKED, NOT_ASKED, NOT_ASKED) for name, _ in card.absent]
    rows += [
        (text(name), unknown(plain(reason)), NOT_ASKED, NOT_ASKED, NOT_ASKED) for name, reason in card.unknown
    ]
    if card.total is not None:
        rows.append((text("Total"), NOT_ASKED, NOT_ASKED, text(exact_count(card.total)), text("100.0 %")))
    headers = ("Component", "Class", "Path", "Parameters", "Share")
    return Table(headers, tuple(rows), title="Components", notes=card.notes)


def _details(card: Card) -> Table:
    rows = [
        (text(section.title), text(label.strip()), cell)
        for section in card.sections
        for label, cell in section.lines
    ]
    return Table(("Component", "Property", "Value"), tuple(rows), title="Details")


def _card_tables_evidence(card: Card) -> Table:
    rows = [(text(section.title), text(why)) for section in card.sections for why in section.evidence]
    return Table(("Component", "Why"), tuple(rows), title="Evidence")


def _single(title: str, header: str, cells: Sequence[Cell]) -> Table:
    return Table((header,), tuple((cell,) for cell in cells), title=title)


def _rows(lines: Sequence[Line]) -> tuple[tuple[Cell, ...], ...]:
    return tuple((text(label), cell) for label, cell in lines)


def _paths(paths: Sequence[str]) -> Cell:
    return join((code(path) for path in paths), ", ") if paths else NOT_ASKED
