"""How a repository's weights are quantized, read from its configuration.

Quantizers use different keys for the same facts; the names below are those that they write. The modules are
not affected: transformers inserts packed layers only when it loads weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from vlm_inspect.anatomy.module_kinds import as_int
from vlm_inspect.core.architecture import Quantization, QuantizedGroup
from vlm_inspect.core.checkpoint import QUANTIZATION_KEYS

_BITS_KEYS = ("bits", "w_bit", "num_bits", "nbits", "weight_bits", "wbits")
_GROUP_KEYS = ("group_size", "q_group_size", "weight_block_size", "block_structure")
_TYPE_NAME_KEYS = (
    "quant_algo",
    "quant_type",
    "weights",
    "weight_dtype",
    "dtype",
    "linear_class",
    "format",
    "forward_dtype",
)
# number format and bits in the name of a method or type: int4_weight_only, NVFP4, FP8, float8
_NUMBER_IN_NAME = re.compile(r"(?<![a-z])((?:u?int|(?:nv|mx)?fp|nf|float|qint|qfloat)_?(\d{1,2}))", re.IGNORECASE)
_MAX_BITS = 16
_MAX_DEPTH = 3
_MAX_TARGETS = 8
_LONGEST_NAME = 200
_NUMBER_KEYS = ("bnb_4bit_quant_type", "fmt", "data_type", "mode", "weights_dtype", "type")
# keys of settings for single modules: AutoRound, GPTQ, ModelOpt, Gemma, VPTQ, HQQ, fouroversix
_PER_MODULE = (
    *("extra_config", "dynamic", "quantized_layers", "module_quant_configs", "config_for_layers"),
    *("layer_quant_config", "dynamic_config", "module_config_overrides"),
)

Settings = Mapping[str, Any]


def quantization_of(config: Mapping[str, Any]) -> Quantization | None:
    """The quantization that a configuration declares; None if there is none or it is switched off."""
    for path, settings in declared_settings(config):
        if method := _method(path, settings):
            packing = _first_string(settings, "format", "checkpoint_format", "packing_format", "version")
            groups = _groups(method, settings)
            first = groups[0]
            return Quantization(
                method,
                first.bits if len({each.bits for each in groups}) == 1 else None,
                first.number if len({each.number for each in groups}) == 1 else None,
                first.group if len({each.group for each in groups}) == 1 else (),
                packing,
                path,
                groups if len(groups) > 1 else (),
            )
    return None


def declared_settings(config: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Settings]]:
    """Quantization settings with their paths, at the top level and in the configurations of parts."""
    for key in QUANTIZATION_KEYS:
        settings = config.get(key)
        if isinstance(settings, Mapping) and settings:
            yield f"{path}{key}", settings
    for name, part in config.items():
        if not path and isinstance(part, Mapping) and name not in QUANTIZATION_KEYS:
            yield from declared_settings(part, f"{name}.")


def _method(path: str, settings: Settings) -> str | None:
    if settings.get("load_in_4bit") or settings.get("load_in_8bit"):
        return "bitsandbytes"
    method = _first_string(settings, "quant_method", "quantization_method", "method")
    if method == "bitsandbytes":  # switched off where both flags are false
        return None if "load_in_4bit" in settings or "load_in_8bit" in settings else method
    if method is None and path.endswith("quantization") and _first_positive(settings, *_BITS_KEYS):
        return "mlx"  # only MLX writes this key without a method
    return method


def _groups(method: str, settings: Settings) -> tuple[QuantizedGroup, ...]:
    """The quantizations of a model, one for each combination of bits, number format and group size."""
    groups = list(_config_groups(settings))
    if not groups:
        groups = [(settings, [])]
        groups += [({**_inherited(settings), **each}, [name]) for name, each in _per_module(settings)]
        if (experts := _first_string(settings, "expert_dtype")) and experts != method:
            groups.append(({"dtype": experts}, ["experts"]))
    found: dict[QuantizedGroup, list[str]] = {}
    for each, targets in groups:
        number, bits = _number_and_bits("" if targets else method, each)
        if bits is None:  # a module's own type counts before the method's name
            number, bits = _number_and_bits(method, each)
        found.setdefault(QuantizedGroup(bits, number, _group_size(each)), []).extend(targets)
    if len(found) > 1:
        found.pop(QuantizedGroup(), None)  # all settings are those of single modules
    return tuple(replace(group, targets=tuple(names[:_MAX_TARGETS])) for group, names in found.items())


def _config_groups(settings: Settings) -> Iterator[tuple[Settings, list[str]]]:
    """The settings for weights of each group of compressed-tensors, and the modules that it is for."""
    groups = settings.get("config_groups")
    for group in groups.values() if isinstance(groups, Mapping) else ():
        weights = group.get("weights") if isinstance(group, Mapping) else None
        if isinstance(weights, Mapping):
            targets = group.get("targets")
            names = targets if isinstance(targets, list) else []
            yield weights, [name[:_LONGEST_NAME] for name in names if isinstance(name, str)]


def _per_module(settings: Settings) -> Iterator[tuple[str, Settings]]:
    """The settings of single modules: below a key for them, or below the module's name (MLX)."""
    mixed = (settings, settings.get("quant_config"))  # HQQ's own key; these hold other settings, too
    for holder in (*mixed, *(settings.get(key) for key in _PER_MODULE)):
        for name, each in holder.items() if isinstance(holder, Mapping) else ():
            is_module = name not in _PER_MODULE and (holder not in mixed or "." in str(name))
            if isinstance(each, Mapping) and each and is_module:  # without settings, it is left as it is
                yield str(name)[:_LONGEST_NAME], each


def _inherited(settings: Settings) -> Settings:
    """The settings that a module's own ones replace."""
    own = {*_BITS_KEYS, *_GROUP_KEYS, *_NUMBER_KEYS}
    return {key: value for key, value in settings.items() if key in own}


def _number_and_bits(method: str, settings: Settings) -> tuple[str | None, int | None]:
    """The number format of a weight and its bits."""
    number = _first_string(settings, *_NUMBER_KEYS)
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


def _group_size(settings: Settings) -> tuple[int, ...]:
    for each in _nested_settings(settings):
        for key in _GROUP_KEYS:
            value = each.get(key)
            if size := _first_positive(each, key):
                return (size,)
            if isinstance(value, list) and value and all(isinstance(side, int) for side in value):
                return tuple(value)
    return ()


def _nested_settings(settings: Settings, depth: int = 0) -> Iterator[Settings]:
    """Settings and those inside them, without those of single modules and compressed-tensors' groups."""
    yield settings
    for key, value in settings.items():
        is_module = key in _PER_MODULE or "." in str(key)
        if isinstance(value, Mapping) and key != "config_groups" and not is_module and depth < _MAX_DEPTH:
            yield from _nested_settings(value, depth + 1)


def _first_string(settings: Settings, *keys: str) -> str | None:
    values = (settings.get(key) for key in keys)
    return next((value.lower() for value in values if isinstance(value, str) and value), None)


def _first_positive(settings: Settings, *keys: str) -> int | None:
    values = (as_int(settings.get(key)) for key in keys)
    return next((value for value in values if value and value > 0), None)
