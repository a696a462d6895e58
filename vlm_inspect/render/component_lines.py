"""What a card says of one component, a line each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from vlm_inspect.architecture import Attention, Component, Experts, Layer, LayerStack, Mlp, Norm
from vlm_inspect.render.attention_wording import attention_words, positions_cell
from vlm_inspect.render.beside_wording import beside_cell
from vlm_inspect.render.cells import Cell, code, concat, join, text
from vlm_inspect.render.figures import counted, exact_count, square
from vlm_inspect.render.layer_wording import attention_class, mlp_cell
from vlm_inspect.render.stage_wording import activation_name, embeddings_cell, norm_cell, stages_cell
from vlm_inspect.render.states import class_cell, missing
from vlm_inspect.render.wording import layers

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
