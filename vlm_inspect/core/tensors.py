"""TensorHeaders: names, dtypes and shapes of a checkpoint's tensors, read from its safetensors headers."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from vlm_inspect.core.module_tree import Shape


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
