"""The warning about structural configuration keys that the model class ignores, and quantization as text."""

from __future__ import annotations

from vlm_inspect.core.architecture import Architecture, Quantization, QuantizedGroup
from vlm_inspect.core.module_tree import UnusedConfigKey
from vlm_inspect.render.cells import Cell, code, join
from vlm_inspect.render.text.values import NOT_APPLICABLE, dimensions, plural

MARK = " (!)"
"""Follows the name of a model that has a warning."""

_MAX_KEYS = 8


def ignored_keys_warning(architecture: Architecture) -> str | None:
    """The warning that the result may describe another model; None if no structural key was ignored."""
    keys = architecture.ignored_structural_keys
    if not keys:
        return None
    listed = ", ".join(_key_value(key) for key in keys[:_MAX_KEYS])
    more = f" and {len(keys) - _MAX_KEYS} more" if len(keys) > _MAX_KEYS else ""
    name = architecture.model_class or "the model class"
    verb = "defines" if len(keys) == 1 else "define"
    return (
        f"this may not be the model: {name} ignores {plural(len(keys), 'key')} of config.json that {verb} "
        f"its structure, and was built with its own values instead: {listed}{more}."
    )


def ignored_keys_cell(architecture: Architecture) -> Cell:
    """The ignored structural keys, for a column."""
    keys = architecture.ignored_structural_keys
    return join((code(key.path) for key in keys), ", ") if keys else NOT_APPLICABLE


def quantization_text(quantization: Quantization) -> str:
    """`compressed-tensors, 4 bits, int, groups of 32, pack-quantized`; of several `fp8 + 4 bits, groups of 16`."""
    groups = [_group_text(each) for each in quantization.groups or (quantization,)]
    parts = [quantization.method, *([" + ".join(filter(None, groups))] if any(groups) else [])]
    stated = quantization.packing and quantization.packing not in ", ".join(parts).split(", ")
    parts += [quantization.packing] if quantization.packing and stated else []
    component = quantization.path.rpartition(".")[0]
    return ", ".join(parts) + (f" ({component})" if component else "")


def _group_text(quantization: Quantization | QuantizedGroup) -> str:
    """`4 bits, int, groups of 32`."""
    parts = [plural(quantization.bits, "bit")] if quantization.bits else []
    parts += [quantization.number] if quantization.number else []
    if len(quantization.group) == 1:
        parts.append(f"groups of {quantization.group[0]}")
    elif quantization.group:
        parts.append(f"blocks of {dimensions(quantization.group)}")
    return ", ".join(parts)


def _key_value(key: UnusedConfigKey) -> str:
    return f"{key.path} {key.value}" + (f" (built: {key.built_instead})" if key.built_instead else "")
