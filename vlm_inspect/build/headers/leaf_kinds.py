"""What a module must be that holds tensors and no modules, by their shapes and its name.

Where shapes leave one class of torch, it is named: a 2-D `weight` is a Linear or an Embedding, a 4-D one a
Conv2d. Where they do not, the name says what it is and not which class (`?Norm`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct

from vlm_inspect.tree import INFERRED, Attribute, Shape

_EMBEDDING = re.compile(
    r"(^|_)(embed(ding|der)?s?|embd|wte|wpe|shared|embed_in|embed_tokens\w*|relative_attention_bias)(_\d+|_table)?$"
    r"|(embedding|embeddings)$|^embed_",
    re.IGNORECASE,
)
_NO_TABLE = re.compile(r"(patch|proj|linear|vision_embed_tokens$|fc\d*$|dense$)", re.IGNORECASE)
_NORM = re.compile(r"(norm|layer_?norm|(^|_)ln(_|\d|$)|^rms|layrnorm)", re.IGNORECASE)
_GROUP_NORM = re.compile(r"group_?norm|(^|_)gn\d?$", re.IGNORECASE)
_CONVOLUTIONS: Mapping[int, str] = {3: "Conv1d", 4: "Conv2d", 5: "Conv3d"}
_TABLE = 2


class Kind(Struct, frozen=True):
    """A class, or what stands for an unknown one, and the attributes that its shapes state."""

    class_name: str
    detail: str = ""
    attributes: tuple[tuple[str, Attribute], ...] = ()


MODULE = Kind(f"{INFERRED}Module")


def leaf_kind(
    name: str, shapes: Mapping[str, Shape], buffers: Mapping[str, Shape], *, channels_last: bool = False
) -> Kind:
    """The kind of a module with these parameters; `name` is its own, without its place."""
    weight, bias = shapes.get("weight"), shapes.get("bias")
    if weight is None or set(shapes) - {"weight", "bias"}:
        return MODULE
    if len(weight) == 1:
        return _vector_kind(name, weight, bias, buffers)
    if len(weight) == _TABLE:
        return _matrix_kind(name, weight, bias)
    if len(weight) in _CONVOLUTIONS and (bias is None or len(bias) == 1):
        return _convolution(weight, bias, channels_last=channels_last)
    return MODULE


def _vector_kind(name: str, weight: Shape, bias: Shape | None, buffers: Mapping[str, Shape]) -> Kind:
    if "running_mean" in buffers:
        return Kind(f"{INFERRED}BatchNorm", attributes=(("num_features", weight[0]),))
    if _GROUP_NORM.search(name):
        return Kind("GroupNorm", attributes=(("num_channels", weight[0]),))
    if bias == weight:
        return Kind("LayerNorm", f"({weight[0]},)", (("normalized_shape", weight),))
    return Kind(f"{INFERRED}Norm") if bias is None and _is_norm_place(name) else MODULE


def _is_norm_place(name: str) -> bool:
    """Called a norm, or a numbered step: of those torch has, a norm alone holds one vector."""
    return bool(_NORM.search(name)) or name.isdigit()


def _matrix_kind(name: str, weight: Shape, bias: Shape | None) -> Kind:
    if bias is None and is_table_name(name):
        return Kind(
            "Embedding",
            f"{weight[0]}, {weight[1]}",
            (("embedding_dim", weight[1]), ("num_embeddings", weight[0])),
        )
    if bias is not None and bias != weight[:1] and bias == weight[1:]:  # GPT-2's, which is stored transposed
        return Kind("Conv1D", f"nf={weight[1]}, nx={weight[0]}", (("nf", weight[1]), ("nx", weight[0])))
    return linear(weight[1], weight[0], has_bias=bias is not None)


def is_table_name(name: str) -> bool:
    """Whether a module of this name looks its input up."""
    return bool(_EMBEDDING.search(name)) and not _NO_TABLE.search(name)


def linear(given: int, made: int, *, has_bias: bool) -> Kind:
    """A Linear of these widths."""
    detail = f"in_features={given}, out_features={made}, bias={has_bias}"
    return Kind("Linear", detail, (("in_features", given), ("out_features", made)))


def _convolution(weight: Shape, bias: Shape | None, *, channels_last: bool) -> Kind:
    """Channels and kernel. With one input channel their number is unknown: it may be one group of several."""
    given, kernel = (weight[-1], weight[1:-1]) if channels_last else (weight[1], weight[2:])
    attributes: list[tuple[str, Attribute]] = [("kernel_size", kernel), ("out_channels", weight[0])]
    if given > 1:
        attributes.append(("in_channels", given))
    detail = f"{given}, {weight[0]}, kernel_size={kernel}" + ("" if bias is not None else ", bias=False")
    return Kind(_CONVOLUTIONS[len(weight)], detail, tuple(sorted(attributes)))
