"""What a card says of one component, a line each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vlm_inspect.architecture import Component, Layer, LayerStack, Mlp, Norm
from vlm_inspect.render.cells import Cell, code, concat, join, text
from vlm_inspect.render.figures import counted, exact_count, square
from vlm_inspect.render.layer_wording import attention_class, head_words, mlp_cell
from vlm_inspect.render.stage_wording import activation_name, embeddings_cell, norm_cell, stages_cell
from vlm_inspect.render.states import class_cell, missing
from vlm_inspect.render.wording import layers

Line = tuple[str, Cell]

_MOST_PLACES = 12


def component_lines(component: Component) -> Iterator[Line]:
    """What it takes in, its layers and what each kind is made of, its steps."""
    if component.width:
        yield "Width", text(str(component.width))
    if component.image_size:
        yield "Images", text(f"{square(component.image_size)} pixels")
    if component.embeddings:
        yield "Embeddings", embeddings_cell(component.embeddings)
    if component.stages:
        yield "Steps", stages_cell(component.stages)
    if component.tied_to:
        yield "Weight", concat(text("tied to "), code(component.tied_to))
    if len(component.layers) > 1 or "stacks" in component.unknown:
        yield "Layers", layers(component)
    for stack in component.stacks:
        yield from _stack_lines(stack)


def _stack_lines(stack: LayerStack) -> Iterator[Line]:
    for index, kind in enumerate(stack.kinds):
        yield "Layer", _layer(stack, index)
        yield "  Attention", _attention(kind)
        yield "  MLP", _mlp(kind)
        yield "  Norms", _norms(kind)


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


def _attention(layer: Layer) -> Cell:
    words = head_words(layer.attention) if layer.attention else ""
    return concat(attention_class(layer), text(f", {words}" if words else ""))


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
    return join((_named(norm, names) for norm, names in groups.items()), "; ")


def _norm(norm: Norm) -> Cell:
    told = norm_cell(norm)
    eps = f" (eps={norm.eps})" if told[0].code and norm.eps is not None else ""
    return concat(told, text(eps))


def _named(norm: Cell, names: Sequence[str]) -> Cell:
    told = [name for name in names if name]
    return concat(norm, text(f" as {', '.join(told)}" if told else f" x {len(names)}"))
