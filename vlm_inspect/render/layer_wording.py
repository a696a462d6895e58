"""Stacks of layers and the parts of one layer, in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vlm_inspect.architecture import Attention, Experts, Layer, LayerStack, Mlp
from vlm_inspect.render.cells import Cell, code, concat, join, text
from vlm_inspect.render.figures import counted
from vlm_inspect.render.repetition import pattern
from vlm_inspect.render.stage_wording import activation_name, norm_cell, widths
from vlm_inspect.render.states import ABSENT, NOT_ASKED, class_cell, missing, unknown


def stack_cell(stack: LayerStack) -> Cell:
    """`24 layers`; where they are not alike, what they are: `40 layers: 3 x `A` + 1 x `B`, 10 times`."""
    count = text(counted(stack.count, "layer"))
    if len(stack.kinds) < 2:  # noqa: PLR2004 - one kind is no pattern
        return count
    names = kind_names(stack.kinds)
    if not stack.order:
        return concat(count, text(f" of {len(stack.kinds)} kinds"))
    groups, times = pattern(stack.order)
    often = text(f", {times} times" if times > 1 else "")
    if names is None:
        numbers = " + ".join(str(number) for _, number in groups)
        return concat(count, text(f" of {len(stack.kinds)} kinds ({numbers}"), often, text(")"))
    told = join((concat(text(f"{number} x "), names[kind]) for kind, number in groups), " + ")
    return concat(count, text(": "), told, often)


def kind_names(kinds: Sequence[Layer]) -> tuple[Cell, ...] | None:
    """A name for each kind of layer, by what tells them apart; None where the record has nothing."""
    for name in _DIFFERENCES:
        names = tuple(name(kind) for kind in kinds)
        if len(set(names)) == len(kinds):
            return names
    telling = [name for name in _DIFFERENCES if len({name(kind) for kind in kinds}) > 1]
    for enough in range(2, len(telling) + 1):
        joined = tuple(join((name(kind) for name in telling[:enough]), ", ") for kind in kinds)
        if len(set(joined)) == len(kinds):
            return joined
    return None


def distinct(layers: Sequence[Layer], word: Callable[[Layer], Cell]) -> Cell:
    """What the layers have, each wording once: `` `A` / `B` ``."""
    return join(dict.fromkeys(word(layer) for layer in layers), " / ")


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


def expert_words(experts: Experts | None) -> list[str]:
    """`128 experts`, `8 per token`, `1 shared`."""
    if experts is None:
        return []
    words = [counted(experts.count, "expert")]
    words += [f"{experts.per_token} per token"] if experts.per_token else []
    return words + ([f"{experts.shared} shared"] if experts.shared else [])


def head_words(attention: Attention) -> str:
    """`grouped-query, 32 heads of 128, 8 key-value heads`; empty where nothing is known."""
    words: list[str] = [attention.kind] if attention.kind else []
    words += ["cross-attention"] if attention.cross else []
    words += [f"sliding window of {attention.sliding_window}"] if attention.sliding_window else []
    words += ["without rotary positions"] if attention.rotary is False else []
    if attention.heads:
        width = f" of {attention.head_width}" if attention.head_width else ""
        words.append(counted(attention.heads, "head") + width)
    if attention.key_value_heads and attention.key_value_heads != attention.heads:
        words.append(counted(attention.key_value_heads, "key-value head"))
    return ", ".join(words)


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


def _layer_class(layer: Layer) -> Cell:
    return code(layer.class_name or "")


def _attention_class(layer: Layer) -> Cell:
    return code(layer.attention.class_name or "") if layer.attention else text("no attention")


def _reads(layer: Layer) -> Cell:
    return text("cross-attention" if layer.attention and layer.attention.cross else "self-attention")


def _window(layer: Layer) -> Cell:
    window = layer.attention.sliding_window if layer.attention else None
    return text(f"sliding window of {window}" if window else "full attention")


def _positions(layer: Layer) -> Cell:
    return text("no rotary" if layer.attention and layer.attention.rotary is False else "rotary")


def _sparsity(layer: Layer) -> Cell:
    return text("mixture of experts" if layer.mlp and layer.mlp.experts else "dense")


def _mlp_class(layer: Layer) -> Cell:
    return code(layer.mlp.class_name or "") if layer.mlp else text("no MLP")


def _mlp_widths(layer: Layer) -> Cell:
    return text(f"MLP width {layer.mlp.hidden_width if layer.mlp else 0}")


def _heads(layer: Layer) -> Cell:
    return text(head_words(layer.attention) if layer.attention else "no heads")


# in what two kinds of layers may differ, the most telling first
_DIFFERENCES: tuple[Callable[[Layer], Cell], ...] = (
    _layer_class,
    _attention_class,
    _reads,
    _window,
    _positions,
    _sparsity,
    _mlp_class,
    _mlp_widths,
    _heads,
)
