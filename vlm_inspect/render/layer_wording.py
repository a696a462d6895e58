"""Stacks of layers and the parts of one layer, in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vlm_inspect.architecture import Experts, Layer, LayerStack, Mlp
from vlm_inspect.render.cells import Cell, code, concat, join, text
from vlm_inspect.render.figures import counted
from vlm_inspect.render.layer_kinds import coarse_names, kind_names
from vlm_inspect.render.ranges import shortened
from vlm_inspect.render.repetition import Runs, Segment, pattern, totals
from vlm_inspect.render.stage_wording import activation_name, norm_cell, widths
from vlm_inspect.render.states import ABSENT, NOT_ASKED, class_cell, missing, unknown

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
