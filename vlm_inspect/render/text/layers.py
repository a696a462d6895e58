"""Stacks of layers, and the attention, MLP and norms of one layer, as cell text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, combinations

from vlm_inspect.core.architecture import Attention, Layer, LayerStack, Mlp
from vlm_inspect.render.cells import Cell, code, concat, join, text
from vlm_inspect.render.text import values
from vlm_inspect.render.text.attention import heads
from vlm_inspect.render.text.stages import activation_name, norm_cell, widths

_MAX_NAMED_KINDS = 5
_MAX_DIFFERENCES = 4


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
        shared_names = _differences(stack.kinds)[:1]  # kinds may share such a name
        order = [concat(text(": "), _order_cell(stack.order, names)) for names in shared_names]
        return concat(count, number_of_kinds, *order)
    names = kind_names(stack.kinds)
    if names is not None:
        return concat(count, text(": "), _order_cell(stack.order, names))
    numbers = tuple(text(f"kind {number}") for number in range(1, len(stack.kinds) + 1))
    return concat(count, number_of_kinds, text(": "), _order_cell(stack.order, numbers))


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


def _order_cell(order: Sequence[int], names: Sequence[Cell]) -> Cell:
    """The order of the kinds if it has a short description; else the number of layers of each kind."""
    different = tuple(dict.fromkeys(names))
    order = [different.index(names[kind]) for kind in order]
    segments = values.find_pattern(order)
    if segments is None:
        return concat(_runs_cell(values.kind_counts(order), different), text(", mixed"))
    suffixes = (text(f", {times} times" if times > 1 else "") for _, times in segments)
    bodies = (_runs_cell(body, different) for body, _ in segments)
    return join(map(concat, bodies, suffixes), ", then ")


def _runs_cell(runs: values.Runs, names: Sequence[Cell]) -> Cell:
    return join((concat(text(f"{length} x "), names[kind]) for kind, length in runs), " + ")


def kind_names(kinds: Sequence[Layer]) -> tuple[Cell, ...] | None:
    """A unique name for each kind of layer, by as few differences as possible; None if they look the same."""
    differences = _differences(kinds)
    sizes = tuple(
        text(f"{values.exact_count(kind.parameters)} parameters" if kind.parameters is not None else "")
        for kind in kinds
    )
    candidates = chain(
        *(combinations(differences, size) for size in range(1, _MAX_DIFFERENCES + 1)),
        ((names, sizes) for names in differences[:1]),
        [(sizes,)],
    )
    for chosen in candidates:
        joined = tuple(join(parts, ", ") for parts in zip(*chosen, strict=True))
        if len(set(joined)) == len(kinds):
            return joined
    return None


def _differences(kinds: Sequence[Layer]) -> list[tuple[Cell, ...]]:
    """The cells of the kinds for each property in which they differ, the most telling property first."""
    properties = (tuple(describe(kind) for kind in kinds) for describe in _PROPERTIES)
    return [cells for cells in properties if len(set(cells)) > 1]


def _attention_range(layer: Layer) -> str:
    """`linear attention`, `sliding attention`; of a layer without attention, the kind of its MLP."""
    attention = layer.attention
    if attention is None:
        return _sparsity(layer, "MLP") if layer.mlp else "no attention"
    if attention.mechanism != "attention":
        return attention.mechanism
    if attention.sliding_window:
        return "sliding attention"
    if attention.chunk:
        return "chunked attention"
    return "window attention" if attention.window else "full attention"


def _sparsity(layer: Layer, dense: str = "dense") -> str:
    return "mixture of experts" if layer.mlp and layer.mlp.experts else dense


def _extra_attention(layer: Layer) -> str:
    if any(each.cross for each in layer.extra_attention):
        return "with cross-attention"
    return f"with {layer.extra_attention[0].mechanism}" if layer.extra_attention else "self-attention alone"


def _positions(layer: Layer) -> str:
    positions = _attention(layer).positions
    return "no rotary" if positions == "none" else positions or ""


def _sliding_window(layer: Layer) -> str:
    window = _attention(layer).sliding_window
    return f"sliding window of {window}" if window else "no sliding window"


def _number_of_experts(layer: Layer) -> str:
    groups = layer.mlp.experts if layer.mlp else ()
    return " + ".join(values.plural(each.count, "expert") for each in groups) or "dense"


def _attention(layer: Layer) -> Attention:
    return layer.attention or Attention()


def _has(layer: Layer, feature: str) -> bool:
    return feature in _attention(layer).features


# properties in which two kinds of layers may differ, the most telling first
_PROPERTIES: tuple[Callable[[Layer], Cell], ...] = (
    lambda layer: text("cross-attention" if _attention(layer).cross else "self-attention"),
    lambda layer: text(_attention_range(layer)),
    lambda layer: text(_extra_attention(layer)),
    lambda layer: text(_positions(layer)),
    lambda layer: text(_sparsity(layer)),
    lambda layer: text("shared key-values" if _has(layer, "shared key-values") else "own key-values"),
    lambda layer: text("shifted windows" if _has(layer, "shifted windows") else "windows"),
    lambda layer: text("with position table" if _has(layer, "position table") else "without"),
    lambda layer: text(_sliding_window(layer)),
    lambda layer: code(layer.class_name or ""),
    lambda layer: code(layer.attention.class_name or "") if layer.attention else text("no attention"),
    lambda layer: code(layer.mlp.class_name or "") if layer.mlp else text("no MLP"),
    lambda layer: text(f"MLP width {layer.mlp.hidden_width if layer.mlp else 0}"),
    lambda layer: text(_number_of_experts(layer)),
    lambda layer: text(heads(layer.attention) if layer.attention else "no heads"),
)
