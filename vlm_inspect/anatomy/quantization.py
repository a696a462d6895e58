"""How a repository's weights are quantized, read from its configuration.

Quantizers use different keys for the same facts; the names below are those that they write. The modules are
not affected: transformers inserts packed layers only when it loads weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from vlm_inspect.anatomy.module_kinds import as_int
from vlm_inspect.core.architecture import Quantization
from vlm_inspect.core.checkpoint import QUANTIZATION_KEYS

_BITS_KEYS = ("bits", "w_bit", "num_bits", "nbits", "weight_bits", "wbits")
_GROUP_KEYS = ("group_size", "q_group_size", "weight_block_size")
_TYPE_NAME_KEYS = ("quant_algo", "quant_type", "weights", "weight_dtype", "dtype", "linear_class", "format")
# number format and bits in the name of a method or type: int4_weight_only, NVFP4, FP8, float8
_NUMBER_IN_NAME = re.compile(r"(?<![a-z])((?:u?int|(?:nv|mx)?fp|nf|float|qint|qfloat)_?(\d{1,2}))", re.IGNORECASE)
_MAX_BITS = 16
_MAX_DEPTH = 3

Settings = Mapping[str, Any]


def quantization_of(config: Mapping[str, Any]) -> Quantization | None:
    """The quantization that a configuration declares; None if there is none or it is switched off."""
    for path, settings in _declared_settings(config):
        if method := _method(path, settings):
            weights = _weight_settings(settings)
            number, bits = _number_and_bits(method, settings, weights)
            packing = _first_string(settings, "format", "checkpoint_format", "packing_format", "version")
            return Quantization(method, bits, number, _group_size(settings, weights), packing, path)
    return None


def _declared_settings(config: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Settings]]:
    """Quantization settings with their paths, at the top level and in the configurations of parts."""
    for key in QUANTIZATION_KEYS:
        settings = config.get(key)
        if isinstance(settings, Mapping) and settings:
            yield f"{path}{key}", settings
    for name, part in config.items():
        if not path and isinstance(part, Mapping) and name not in QUANTIZATION_KEYS:
            yield from _declared_settings(part, f"{name}.")


def _method(path: str, settings: Settings) -> str | None:
    if settings.get("load_in_4bit") or settings.get("load_in_8bit"):
        return "bitsandbytes"
    method = _first_string(settings, "quant_method", "quantization_method", "method")
    if method == "bitsandbytes":  # switched off where both flags are false
        return None if "load_in_4bit" in settings or "load_in_8bit" in settings else method
    if method is None and path.endswith("quantization") and _first_positive(settings, *_BITS_KEYS):
        return "mlx"  # only MLX writes this key without a method
    return method


def _weight_settings(settings: Settings) -> tuple[Settings, ...]:
    """The settings for weights of each group of compressed-tensors."""
    groups = settings.get("config_groups")
    values = groups.values() if isinstance(groups, Mapping) else ()
    weights = (group.get("weights") for group in values if isinstance(group, Mapping))
    return tuple(each for each in weights if isinstance(each, Mapping))


def _number_and_bits(method: str, settings: Settings, weights: tuple[Settings, ...]) -> tuple[str | None, int | None]:
    """The number format of a weight and its bits; each is None if groups differ in it."""
    if weights:
        formats = {_first_string(each, "type") for each in weights}
        widths = {_first_positive(each, "num_bits") for each in weights}
        return (formats.pop() if len(formats) == 1 else None), (widths.pop() if len(widths) == 1 else None)
    number = _first_string(settings, "bnb_4bit_quant_type", "fmt", "data_type", "mode", "weights_dtype")
    if settings.get("load_in_4bit"):
        return number, 4
    if settings.get("load_in_8bit"):
        return "int", 8
    bits = next((found for each in _nested_settings(settings) if (found := _first_positive(each, *_BITS_KEYS))), None)
    if bits:
        return number, bits
    number_in_name, bits = _parse_names(method, settings)
    return number or number_in_name, bits


def _parse_names(method: str, settings: Settings) -> tuple[str | None, int | None]:
    """The first number format in the name of the method or of a type; a method's own name is no format."""
    for name in (method, *_type_names(settings)):
        match = _NUMBER_IN_NAME.search(name.replace("-", "_").replace("_", " "))
        if match and 0 < int(match[2]) <= _MAX_BITS:
            return (None if name == method else match[1].lower()), int(match[2])
    return None, None


def _type_names(settings: Settings) -> Iterator[str]:
    for key in _TYPE_NAME_KEYS:
        value = settings.get(key)
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):  # torchao: {"default": {"_type": "Int4WeightOnlyConfig"}}
            yield from (str(each.get("_type", "")) for each in value.values() if isinstance(each, Mapping))


def _group_size(settings: Settings, weights: tuple[Settings, ...]) -> tuple[int, ...]:
    for each in (*weights, *_nested_settings(settings)):
        for key in _GROUP_KEYS:
            value = each.get(key)
            if size := _first_positive(each, key):
                return (size,)
            if isinstance(value, list) and value and all(isinstance(side, int) for side in value):
                return tuple(value)
    return ()


def _nested_settings(settings: Settings, depth: int = 0) -> Iterator[Settings]:
    """Settings and those inside them, without compressed-tensors' groups, which include activations."""
    yield settings
    for key, value in settings.items():
        if isinstance(value, Mapping) and key != "config_groups" and depth < _MAX_DEPTH:
            yield from _nested_settings(value, depth + 1)


def _first_string(settings: Settings, *keys: str) -> str | None:
    values = (settings.get(key) for key in keys)
    return next((value.lower() for value in values if isinstance(value, str) and value), None)


def _first_positive(settings: Settings, *keys: str) -> int | None:
    values = (as_int(settings.get(key)) for key in keys)
    return next((value for value in values if value and value > 0), None)
