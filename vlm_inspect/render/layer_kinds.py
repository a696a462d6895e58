"""Names for the kinds of layers of one stack, by what tells them apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

from vlm_inspect.architecture import Attention, Layer
from vlm_inspect.render.attention_wording import heads
from vlm_inspect.render.cells import Cell, code, join, text
from vlm_inspect.render.figures import counted, exact_count

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
