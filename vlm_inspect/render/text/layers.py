"""Stacks of layers and the parts of one layer, in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

from vlm_inspect.core.architecture import Attention, Experts, Layer, LayerStack, Mlp
from vlm_inspect.render.cells import Cell, code, concat, join, text
from vlm_inspect.render.text.attention import heads
from vlm_inspect.render.text.steps import activation_name, norm_cell, widths
from vlm_inspect.render.text.values import (
    ABSENT,
    NOT_ASKED,
    Runs,
    Segment,
    class_cell,
    counted,
    exact_count,
    missing,
    pattern,
    shortened,
    totals,
    unknown,
)

_MOST_TOGETHER = 4


def kind_names(kinds: Sequence[Layer]) -> tuple[Cell, ...] | None:
    """A name for each kind of layer: what tells all apart, in the fewest words; None where nothing does."""
    telling = _telling(kinds)
    for size in range(1, _MOST_TOGETHER + 1):
        for chosen in combinations(telling, size):
            joined = tuple(join(parts, ", ") for parts in zip(*chosen, strict=True))
            if len(set(joined)) == len(kinds):
                return joined
    sizes = tuple(_size(kind) for kind in kinds)
    for parts in ([telling[0], sizes] if telling else [], [sizes]):
        joined = tuple(join(each, ", ") for each in zip(*parts, strict=True))
        if len(set(joined)) == len(kinds):
            return joined
    return None


def coarse_names(kinds: Sequence[Layer]) -> tuple[Cell, ...] | None:
    """Names by the most telling difference alone, which kinds may share; None where nothing is told."""
    telling = _telling(kinds)
    return telling[0] if telling else None


def _telling(kinds: Sequence[Layer]) -> list[tuple[Cell, ...]]:
    """What the kinds have by each difference in which they do not all agree."""
    told = (tuple(name(kind) for kind in kinds) for name in _DIFFERENCES)
    return [names for names in told if len(set(names)) > 1]


def scope(attention: Attention) -> str:
    """What mixes the tokens, and how far it sees: `linear attention`, `sliding attention`."""
    if attention.mechanism != "attention":
        return attention.mechanism
    if attention.sliding_window:
        return "sliding attention"
    if attention.chunk:
        return "chunked attention"
    return "window attention" if attention.window else "full attention"


def _reads(layer: Layer) -> Cell:
    return text("cross-attention" if layer.attention and layer.attention.cross else "self-attention")


def _scope(layer: Layer) -> Cell:
    if layer.attention is not None:
        return text(scope(layer.attention))
    if layer.mlp is None:
        return text("no attention")
    return text("mixture of experts" if layer.mlp.experts else "MLP")


def _further(layer: Layer) -> Cell:
    crossing = any(each.cross for each in layer.extra_attention)
    named = [] if crossing else [each.mechanism for each in layer.extra_attention]
    if crossing:
        return text("with cross-attention")
    return text(f"with {named[0]}" if named else "self-attention alone")


def _positions(layer: Layer) -> Cell:
    positions = layer.attention.positions if layer.attention else None
    return text(positions or "" if positions != "none" else "no rotary")


def _sparsity(layer: Layer) -> Cell:
    return text("mixture of experts" if layer.mlp and layer.mlp.experts else "dense")


def _shared(layer: Layer) -> Cell:
    features = layer.attention.features if layer.attention else ()
    return text("shared key-values" if "shared key-values" in features else "own key-values")


def _windows(layer: Layer) -> Cell:
    features = layer.attention.features if layer.attention else ()
    return text("shifted windows" if "shifted windows" in features else "windows")


def _table(layer: Layer) -> Cell:
    features = layer.attention.features if layer.attention else ()
    return text("with position table" if "position table" in features else "without")


def _window(layer: Layer) -> Cell:
    window = layer.attention.sliding_window if layer.attention else None
    return text(f"sliding window of {window}" if window else "no sliding window")


def _layer_class(layer: Layer) -> Cell:
    return code(layer.class_name or "")


def _attention_class(layer: Layer) -> Cell:
    return code(layer.attention.class_name or "") if layer.attention else text("no attention")


def _mlp_class(layer: Layer) -> Cell:
    return code(layer.mlp.class_name or "") if layer.mlp else text("no MLP")


def _mlp_widths(layer: Layer) -> Cell:
    return text(f"MLP width {layer.mlp.hidden_width if layer.mlp else 0}")


def _expert_counts(layer: Layer) -> Cell:
    groups = layer.mlp.experts if layer.mlp else ()
    return text(" + ".join(counted(each.count, "expert") for each in groups) or "dense")


def _heads(layer: Layer) -> Cell:
    return text(heads(layer.attention) if layer.attention else "no heads")


def _size(layer: Layer) -> Cell:
    return text(f"{exact_count(layer.parameters)} parameters" if layer.parameters is not None else "")


# in what two kinds of layers may differ, the most telling first
_DIFFERENCES: tuple[Callable[[Layer], Cell], ...] = (
    _reads,
    _scope,
    _further,
    _positions,
    _sparsity,
    _shared,
    _windows,
    _table,
    _window,
    _layer_class,
    _attention_class,
    _mlp_class,
    _mlp_widths,
    _expert_counts,
    _heads,
)


_MOST_KINDS = 5


def stack_cell(stack: LayerStack) -> Cell:
    """`24 layers`; of several kinds `32 layers: 3 x linear attention + 1 x full attention, 8 times`."""
    count = text(counted(stack.count, "layer"))
    if len(stack.kinds) < 2:  # noqa: PLR2004 - one kind is no pattern
        return count
    several = text(f" of {len(stack.kinds)} kinds")
    if not stack.order:
        return concat(count, several)
    if len(stack.kinds) > _MOST_KINDS:
        names = coarse_names(stack.kinds)
        return concat(count, several, *((text(": "), _told(stack.order, names)) if names else ()))
    names = kind_names(stack.kinds)
    if names is None:
        names = tuple(text(f"kind {number}") for number in range(1, len(stack.kinds) + 1))
        return concat(count, several, text(": "), _told(stack.order, names))
    return concat(count, text(": "), _told(stack.order, names))


def distinct(layers: Sequence[Layer], word: Callable[[Layer], Cell]) -> Cell:
    """What the layers have, each wording once: `` `A` / `B` ``; many that differ in numbers as a range."""
    return join(shortened(list(dict.fromkeys(word(layer) for layer in layers))), " / ")


def attention_class(layer: Layer) -> Cell:
    """`` `CLIPAttention` ``."""
    if layer.attention is None:
        return missing("attention", layer.unknown, otherwise=ABSENT)
    return class_cell(layer.attention.class_name, layer.attention.unknown)


def mlp_cell(layer: Layer) -> Cell:
    """`` `CLIPMLP` (1024 -> 4096 -> 1024) ``, with its experts where it is sparse."""
    if layer.mlp is None:
        return missing("mlp", layer.unknown, otherwise=ABSENT)
    return concat(_dense(layer.mlp), text("".join(f", {word}" for word in expert_words(layer.mlp.experts))))


def norms_cell(layer: Layer) -> Cell:
    """The layer's norms, each wording once."""
    if not layer.norms:
        return missing("norms", layer.unknown, otherwise=ABSENT)
    return join(dict.fromkeys(norm_cell(norm) for norm in layer.norms), " / ")


def expert_words(groups: Sequence[Experts]) -> list[str]:
    """`128 experts`, `8 per token`, `1 shared`; for each group where there are several."""
    words = []
    for experts in groups:
        noun = f"{experts.modality} expert" if experts.modality else "expert"
        words.append(counted(experts.count, noun))
        words += [f"{experts.per_token} per token"] if experts.per_token else []
        words += [f"{experts.shared} shared"] if experts.shared else []
    return words


def _told(order: Sequence[int], names: Sequence[Cell]) -> Cell:
    """The order where it is short to tell; else how many there are of each name."""
    different = tuple(dict.fromkeys(names))
    order = [different.index(names[kind]) for kind in order]
    segments = pattern(order)
    if segments is None:
        return concat(_runs(totals(order), different), text(", mixed"))
    return join((_segment(segment, different) for segment in segments), ", then ")


def _segment(segment: Segment, names: Sequence[Cell]) -> Cell:
    told, times = segment
    return concat(_runs(told, names), text(f", {times} times" if times > 1 else ""))


def _runs(told: Runs, names: Sequence[Cell]) -> Cell:
    return join((concat(text(f"{number} x "), names[kind]) for kind, number in told), " + ")


def _dense(mlp: Mlp) -> Cell:
    sides = (mlp.input_width, mlp.hidden_width, mlp.output_width)
    told = widths(sides) if any(sides) else ""
    if mlp.class_name:
        return concat(code(mlp.class_name), text(f" ({told})" if told else ""))
    if "class_name" in mlp.unknown:
        reason = mlp.unknown["class_name"]
        return concat(text(f"{told}, class "), unknown(reason)) if told else unknown(reason)
    return _bare(mlp, told)


def _bare(mlp: Mlp, told: str) -> Cell:
    """The projections of a layer that has no MLP module."""
    if not told:
        return NOT_ASKED
    if mlp.gated:
        return text(f"gated, {told}")
    up, down = widths((mlp.input_width, mlp.hidden_width)), widths((mlp.hidden_width, mlp.output_width))
    between = f"{activation_name(mlp.activation)} + " if mlp.activation else ""
    return text(f"Linear({up}) + {between}Linear({down})")
