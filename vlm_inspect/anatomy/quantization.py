"""How a repository's weights are quantised, as its configuration says it.

The quantisers name the same things differently; what is read here are the names that they write. Nothing
of it changes the modules: transformers puts packed layers in only when it loads weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from vlm_inspect.core.architecture import Quantization
from vlm_inspect.core.checkpoint import QUANTISATION_KEYS

_METHODS = ("quant_method", "quantization_method", "method")
_BITS = ("bits", "w_bit", "num_bits", "nbits", "weight_bits", "wbits")
_GROUPS = ("group_size", "q_group_size", "weight_block_size")
_PACKINGS = ("format", "checkpoint_format", "packing_format", "version")
_NUMBERS = ("bnb_4bit_quant_type", "fmt", "data_type", "mode", "weights_dtype")
# the width and kind of a number in a method's or a type's name: int4_weight_only, NVFP4, FP8, float8
_NAMED_NUMBER = re.compile(
    r"(?<![a-z])((?:u?int|(?:nv|mx)?fp|nf|float|qint|qfloat)_?(\d{1,2}))", re.IGNORECASE
)
_MOST_BITS = 16
_DEEPEST = 3


def quantization_of(config: Mapping[str, Any]) -> Quantization | None:
    """What a configuration says of quantised weights; None where it says nothing, or that there are none."""
    return next((_read(path, stated) for path, stated in _stated(config) if _method(path, stated)), None)


def _stated(config: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Where quantisation is spoken of: at the top, or in a part's configuration."""
    for key in QUANTISATION_KEYS:
        stated = config.get(key)
        if isinstance(stated, Mapping) and stated:
            yield f"{path}{key}", stated
    for name, part in config.items():
        if not path and isinstance(part, Mapping) and name not in QUANTISATION_KEYS:
            yield from _stated(part, f"{name}.")


def _read(path: str, stated: Mapping[str, Any]) -> Quantization:
    method = _method(path, stated) or ""
    weights = _weights(stated)
    number, bits = _number(method, stated, weights)
    return Quantization(
        method=method,
        bits=bits,
        number=number,
        group=_group(stated, weights),
        packing=_text(stated, _PACKINGS),
        path=path,
    )


def _method(path: str, stated: Mapping[str, Any]) -> str | None:
    if stated.get("load_in_4bit") or stated.get("load_in_8bit"):
        return "bitsandbytes"
    named = _text(stated, _METHODS)
    if named == "bitsandbytes":  # and neither of the two: its settings, and nothing that is quantised
        return None if "load_in_4bit" in stated or "load_in_8bit" in stated else named
    if named is None and path.endswith("quantization") and _whole(stated, _BITS):
        return "mlx"  # the key without a method is MLX's
    return named


def _weights(stated: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """What compressed-tensors says of weights, group by group."""
    groups = stated.get("config_groups")
    each = groups.values() if isinstance(groups, Mapping) else ()
    found = (group.get("weights") for group in each if isinstance(group, Mapping))
    return tuple(weights for weights in found if isinstance(weights, Mapping))


def _number(
    method: str, stated: Mapping[str, Any], weights: tuple[Mapping[str, Any], ...]
) -> tuple[str | None, int | None]:
    """What a weight's number is, and its bits; of groups that differ, neither."""
    if weights:
        kinds = {_text(each, ("type",)) for each in weights}
        widths = {_whole(each, ("num_bits",)) for each in weights}
        return (kinds.pop() if len(kinds) == 1 else None), (widths.pop() if len(widths) == 1 else None)
    named = _text(stated, _NUMBERS)
    if stated.get("load_in_4bit"):
        return named, 4
    if stated.get("load_in_8bit"):
        return "int", 8
    bits = next((found for each in _nested(stated) if (found := _whole(each, _BITS))), None)
    if bits:
        return named, bits
    kind, bits = _named_number(method, stated)
    return named or kind, bits


def _named_number(method: str, stated: Mapping[str, Any]) -> tuple[str | None, int | None]:
    """The first number that a method, or the name of what it does, has in its name."""
    for said in (method, *(value for _, value in _texts(stated))):
        match = _NAMED_NUMBER.search(said.replace("-", "_").replace("_", " "))
        if match and 0 < int(match[2]) <= _MOST_BITS:
            return (None if said == method else match[1].lower()), int(match[2])
    return None, None


def _texts(stated: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key in ("quant_algo", "quant_type", "weights", "weight_dtype", "dtype", "linear_class", "format"):
        value = stated.get(key)
        if isinstance(value, str):
            yield key, value
        elif isinstance(value, Mapping):  # torchao nests: {"default": {"_type": "Int4WeightOnlyConfig"}}
            yield from (
                (key, str(inner.get("_type", ""))) for inner in value.values() if isinstance(inner, Mapping)
            )


def _group(stated: Mapping[str, Any], weights: tuple[Mapping[str, Any], ...]) -> tuple[int, ...]:
    for each in (*weights, *_nested(stated)):
        for key in _GROUPS:
            value = each.get(key)
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return (value,)
            if isinstance(value, list) and value and all(isinstance(side, int) for side in value):
                return tuple(value)
    return ()


def _nested(stated: Mapping[str, Any], depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """A statement and those inside it, without compressed-tensors' groups: they speak of activations too."""
    yield stated
    for key, value in stated.items():
        if isinstance(value, Mapping) and key != "config_groups" and depth < _DEEPEST:
            yield from _nested(value, depth + 1)


def _text(stated: Mapping[str, Any], keys: tuple[str, ...]) -> str | None:
    found = (stated.get(key) for key in keys)
    return next((value.lower() for value in found if isinstance(value, str) and value), None)


def _whole(stated: Mapping[str, Any], keys: tuple[str, ...]) -> int | None:
    found = (stated.get(key) for key in keys)
    return next(
        (value for value in found if isinstance(value, int) and not isinstance(value, bool) and value > 0),
        None,
    )
