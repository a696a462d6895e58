"""Names for the kinds of layers of one stack, by what differs between them: `sliding attention`, `full attention`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, combinations

from msgspec import Struct

from vlm_inspect.core.architecture import Attention, Layer, Mlp

_MOST_DIFFERENCES = 4


class NamePart(Struct, frozen=True):
    """A part of a kind's name."""

    text: str
    is_class: bool = False
    """Whether it is the name of a class."""

    def __str__(self) -> str:
        """Return the text."""
        return self.text


KindName = tuple[NamePart, ...]


def kind_names(kinds: Sequence[Layer], *, with_sizes: bool = True) -> tuple[KindName, ...] | None:
    """A unique name for each kind of layer, by as few differences as possible.

    Args:
        kinds: The kinds of layers of one stack.
        with_sizes: Whether sizes may be part of a name, which then differs between models of the same structure.

    Returns:
        A name for each kind in the same order, or None if they look the same.

    """
    differences = kind_differences(kinds, with_sizes=with_sizes)
    counts = [NamePart("" if kind.parameters is None else f"{kind.parameters:,} parameters") for kind in kinds]
    candidates: Iterator[Sequence[Sequence[NamePart]]] = chain(
        *(combinations(differences, size) for size in range(1, _MOST_DIFFERENCES + 1)),
        ((names, counts) for names in differences[:1] if with_sizes),
        [(counts,)] if with_sizes else [],
    )
    for chosen in candidates:
        names = tuple(tuple(part for part in parts if part.text) for parts in zip(*chosen, strict=True))
        if all(names) and len(set(names)) == len(kinds):
            return names
    return None


def kind_differences(kinds: Sequence[Layer], *, with_sizes: bool = True) -> list[tuple[NamePart, ...]]:
    """The values of each property in which the kinds differ, the most telling property first.

    Args:
        kinds: The kinds of layers of one stack.
        with_sizes: Whether sizes are such properties.

    Returns:
        For each such property its value of each kind. Kinds may share a value.

    """
    described = (*_PROPERTIES, *_SIZES) if with_sizes else _PROPERTIES
    properties = (tuple(describe(kind) for kind in kinds) for describe in described)
    return [values for values in properties if len(set(values)) > 1]


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
    return " + ".join(_counted(each.count, "expert") for each in groups) or "dense"


def _heads(layer: Layer) -> str:
    attention = _attention(layer)
    if not attention.heads:
        return "no heads"
    width = f" of {attention.head_width}" if attention.head_width else ""
    return _counted(attention.heads, "head") + width


def _key_value_heads(layer: Layer) -> str:
    count = _attention(layer).key_value_heads
    return _counted(count, "key-value head") if count else "no key-value heads"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _attention(layer: Layer) -> Attention:
    return layer.attention or Attention()


def _has(layer: Layer, feature: str) -> bool:
    return feature in _attention(layer).features


def _class_name(part: Attention | Layer | Mlp | None, absent: str) -> NamePart:
    return NamePart(part.class_name or "", is_class=True) if part else NamePart(absent)


# properties in which two kinds of layers may differ, the most telling first
_PROPERTIES: tuple[Callable[[Layer], NamePart], ...] = (
    lambda layer: NamePart("cross-attention" if _attention(layer).cross else "self-attention"),
    lambda layer: NamePart(_attention_range(layer)),
    lambda layer: NamePart(_extra_attention(layer)),
    lambda layer: NamePart(_positions(layer)),
    lambda layer: NamePart(_sparsity(layer)),
    lambda layer: NamePart("shared key-values" if _has(layer, "shared key-values") else "own key-values"),
    lambda layer: NamePart("shifted windows" if _has(layer, "shifted windows") else "windows"),
    lambda layer: NamePart("with position table" if _has(layer, "position table") else "without"),
    lambda layer: _class_name(layer, ""),
    lambda layer: _class_name(layer.attention, "no attention"),
    lambda layer: _class_name(layer.mlp, "no MLP"),
)
_SIZES: tuple[Callable[[Layer], NamePart], ...] = (
    lambda layer: NamePart(_sliding_window(layer)),
    lambda layer: NamePart(f"MLP width {layer.mlp.hidden_width if layer.mlp else 0}"),
    lambda layer: NamePart(_number_of_experts(layer)),
    lambda layer: NamePart(_heads(layer)),
    lambda layer: NamePart(_key_value_heads(layer)),
)
