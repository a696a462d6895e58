"""Stacks of layers, and the attention, MLP and norms of one layer, as cell text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from vlm_inspect.core.architecture import Layer, LayerStack, Mlp
from vlm_inspect.core.layer_kinds import KindName, kind_differences, kind_names
from vlm_inspect.render.cells import Cell, code, concat, join, text
from vlm_inspect.render.text import values
from vlm_inspect.render.text.steps import activation_name, norm_cell, widths

_MAX_NAMED_KINDS = 5


def stack_cell(stack: LayerStack) -> Cell:
    """`24 layers`; of several kinds `32 layers: 3 x linear attention + 1 x full attention, 8 times`."""
    repeats = passes_text(stack)
    count = text(values.plural(stack.count, "layer") + (f" ({repeats})" if repeats else ""))
    if len(stack.kinds) < 2:  # noqa: PLR2004 - one kind needs no pattern
        return count
    number_of_kinds = text(f" of {len(stack.kinds)} kinds")
    if not stack.order:
        return concat(count, number_of_kinds)
    if len(stack.kinds) > _MAX_NAMED_KINDS:
        shared_names = kind_differences(stack.kinds)[:1]  # kinds may share such a name
        cells = ([name_cell((names[kind],)) for kind in stack.order] for names in shared_names)
        return concat(count, number_of_kinds, *(concat(text(": "), order_cell(each)) for each in cells))
    names = kind_names(stack.kinds)
    if names is not None:
        return concat(count, text(": "), order_cell([name_cell(names[kind]) for kind in stack.order]))
    return concat(count, number_of_kinds, text(": "), order_cell([text(f"kind {kind + 1}") for kind in stack.order]))


def passes_text(stack: LayerStack) -> str:
    """`layers 6 to 17 run 3 times`; empty if each layer runs once."""
    repeats = [_runs(stack.count, stack.passes)] if (stack.passes or 1) > 1 else []
    for loop in stack.loops:
        count = loop.last - loop.first + 1
        layers = f"layer {loop.first}" if count == 1 else f"layers {loop.first} to {loop.last}"
        repeats.append(f"{layers} {_runs(count, loop.passes)}")
    return ", ".join(repeats)


def _runs(layers: int, passes: int | None) -> str:
    verb = "runs" if layers == 1 else "run"
    return f"{verb} {passes} times" if passes else f"never {verb}"


def distinct(layers: Sequence[Layer], describe: Callable[[Layer], Cell]) -> Cell:
    """The different cells of the layers: `` `A` / `B` ``; many that differ in numbers as a range."""
    return join(values.collapse_similar(list(dict.fromkeys(describe(layer) for layer in layers))), " / ")


def attention_class(layer: Layer) -> Cell:
    """`` `CLIPAttention` ``."""
    if layer.attention is None:
        return values.missing("attention", layer.unknown, otherwise=values.ABSENT)
    return values.class_cell(layer.attention.class_name, layer.attention.unknown)


def mlp_cell(layer: Layer) -> Cell:
    """`` `CLIPMLP` (1024 -> 4096 -> 1024) ``, with its experts if it is sparse."""
    if layer.mlp is None:
        return values.missing("mlp", layer.unknown, otherwise=values.ABSENT)
    return concat(_dense_mlp(layer.mlp), text("".join(f", {each}" for each in _expert_counts(layer.mlp))))


def norms_cell(layer: Layer) -> Cell:
    """The different norms of a layer."""
    if not layer.norms:
        return values.missing("norms", layer.unknown, otherwise=values.ABSENT)
    return join(dict.fromkeys(norm_cell(norm) for norm in layer.norms), " / ")


def _expert_counts(mlp: Mlp) -> Iterator[str]:
    """`128 experts`, `8 per token`, `1 shared`, for each group of experts."""
    for experts in mlp.experts:
        yield values.plural(experts.count, f"{experts.modality} expert" if experts.modality else "expert")
        if experts.per_token:
            yield f"{experts.per_token} per token"
        if experts.shared:
            yield f"{experts.shared} shared"


def _dense_mlp(mlp: Mlp) -> Cell:
    sizes = (mlp.input_width, mlp.hidden_width, mlp.output_width)
    mapping = widths(sizes) if any(sizes) else ""
    if mlp.class_name:
        return concat(code(mlp.class_name), text(f" ({mapping})" if mapping else ""))
    if "class_name" in mlp.unknown:
        reason = values.unknown(mlp.unknown["class_name"])
        return concat(text(f"{mapping}, class "), reason) if mapping else reason
    if not mapping:  # the layer has projections, and no MLP module
        return values.NOT_APPLICABLE
    if mlp.gated:
        return text(f"gated, {mapping}")
    up, down = widths((mlp.input_width, mlp.hidden_width)), widths((mlp.hidden_width, mlp.output_width))
    activation = f"{activation_name(mlp.activation)} + " if mlp.activation else ""
    return text(f"Linear({up}) + {activation}Linear({down})")


def order_cell(names: Sequence[Cell]) -> Cell:
    """The order of kinds of layers if it has a short description; else the number of layers of each kind."""
    different = tuple(dict.fromkeys(names))
    order = [different.index(name) for name in names]
    segments = values.find_pattern(order)
    if segments is None:
        return concat(_runs_cell(values.kind_counts(order), different), text(", mixed"))
    suffixes = (text(f", {times} times" if times > 1 else "") for _, times in segments)
    bodies = (_runs_cell(body, different) for body, _ in segments)
    return join(map(concat, bodies, suffixes), ", then ")


def _runs_cell(runs: values.Runs, names: Sequence[Cell]) -> Cell:
    return join((concat(text(f"{length} x "), names[kind]) for kind, length in runs), " + ")


def name_cell(name: KindName) -> Cell:
    """The name of a kind of layer, with class names in code."""
    return join((code(part.text) if part.is_class else text(part.text) for part in name), ", ")
