"""Checkpoint: a model's configuration, loaded and not yet built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from vlm_inspect.core.model_ref import ModelIdentity
from vlm_inspect.core.module_tree import Shape

QUANTIZATION_KEYS = ("quantization_config", "quantization", "compression_config")
"""Configuration keys for quantized weights: of transformers, of MLX, and of old compressed-tensors files."""


class Checkpoint(Struct, frozen=True):
    """A model's configuration and its source. It has no weights."""

    identity: ModelIdentity
    config: Mapping[str, Any]
    """The content of config.json."""
    notes: tuple[str, ...] = ()
    """Warnings about the source, one sentence each (the Hub was not reached …)."""


class DeclaredClasses(Struct, frozen=True):
    """Classes of a repo's code that the catalogue declares, for use when the code is not available."""

    classes: Mapping[str, str | Mapping[str, str]]
    """Module path, with `*` for layer numbers → the repr that torch prints, in the order of the code:
    `GELU(approximate='none')`. If a configuration key selects the class: the `key`, and a repr per value."""
    supports: tuple[str, ...] | None = None
    """Attention implementations that the model's class supports; None if not declared."""


class TensorInfo(Struct, frozen=True):
    """One stored tensor."""

    name: str
    """Its key: `language_model.model.layers.0.self_attn.q_proj.weight`."""
    dtype: str
    """In the notation of safetensors: `BF16`, `F8_E4M3`, `U8`."""
    shape: Shape
    """As stored: a packed weight has its packed shape."""
    bytes: int
    file: str = ""
    """Its file, as named in the index."""
    offset: int = 0
    """Bytes between the end of the file's header and the tensor."""


class TensorFile(Struct, frozen=True):
    """One safetensors file whose header was read."""

    name: str
    header_bytes: int
    """Bytes of the header, including the eight bytes of its length."""
    size: int | None = None
    """Bytes of the file; None if unknown."""
    is_cut: bool = False
    """Whether the file is shorter than its header says: an incomplete download."""


class TensorHeaders(Struct, frozen=True):
    """The headers of a checkpoint."""

    tensors: tuple[TensorInfo, ...]
    """By file and offset; names are unique."""
    files: tuple[TensorFile, ...] = ()
    """The files that were read, by name."""
    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Incomplete download: each file of the index that is missing, or ends within its header → the names of
    its tensors. Their dtypes and shapes are unknown."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """The headers' `__metadata__` (`format`: `pt`); of different values the first file's."""
    notes: tuple[str, ...] = ()
    """Warnings, one sentence each."""

    @property
    def total_bytes(self) -> int:
        """Bytes of all tensors that were read."""
        return sum(tensor.bytes for tensor in self.tensors)

    @property
    def header_bytes(self) -> int:
        """Bytes of all headers."""
        return sum(file.header_bytes for file in self.files)
