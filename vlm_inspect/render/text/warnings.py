"""What is said of a model whose configuration its class did not read: that the answer may be another's."""

from __future__ import annotations

from vlm_inspect.core.architecture import Architecture, Quantization
from vlm_inspect.core.module_tree import UnusedConfigKey
from vlm_inspect.render.cells import Cell, code, join
from vlm_inspect.render.text.values import NOT_ASKED, counted, square

MARK = " (!)"
"""What stands behind a model's name where there is a warning."""

_MOST_KEYS = 8


def misreading(architecture: Architecture) -> str | None:
    """The warning; None where all that states structure was read."""
    keys = architecture.ignored_structural_keys
    if not keys:
        return None
    told = ", ".join(_told(key) for key in keys[:_MOST_KEYS])
    rest = f" and {len(keys) - _MOST_KEYS} more" if len(keys) > _MOST_KEYS else ""
    name = architecture.model_class or "the class"
    what = "a size or part" if len(keys) == 1 else "sizes or parts"
    return (
        f"this may not be the model: {name} did not read {counted(len(keys), 'key')} of config.json that "
        f"{'states' if len(keys) == 1 else 'state'} {what}, and built what it has instead: {told}{rest}."
    )


def misread_keys(architecture: Architecture) -> Cell:
    """The keys alone, for a column."""
    keys = architecture.ignored_structural_keys
    return join((code(key.path) for key in keys), ", ") if keys else NOT_ASKED


def quantization_words(quantization: Quantization) -> str:
    """`compressed-tensors, 4 bits, int, groups of 32, pack-quantized`."""
    words = [quantization.method]
    words += [counted(quantization.bits, "bit")] if quantization.bits else []
    words += [quantization.number] if quantization.number else []
    words += _group_words(quantization.group)
    words += [quantization.packing] if quantization.packing and quantization.packing not in words else []
    part = quantization.path.rpartition(".")[0]
    return ", ".join(words) + (f" ({part})" if part else "")


def _group_words(group: tuple[int, ...]) -> list[str]:
    if not group:
        return []
    return [f"groups of {group[0]}"] if len(group) == 1 else [f"blocks of {square(group)}"]


def _told(key: UnusedConfigKey) -> str:
    return f"{key.path} {key.value}" + (f" (built: {key.built_instead})" if key.built_instead else "")
