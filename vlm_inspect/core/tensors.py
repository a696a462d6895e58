"""TensorHeaders: what a checkpoint says of its tensors, without one of their values.

A safetensors file starts with a header of JSON: names, dtypes, shapes and places. A sharded checkpoint has
an index that says which file holds which tensor, so that of files that are not there the names are known.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from vlm_inspect.core.module_tree import Shape


class TensorInfo(Struct, frozen=True):
    """One stored tensor."""

    name: str
    """Its key: `language_model.model.layers.0.self_attn.q_proj.weight`."""
    dtype: str
    """As safetensors writes it: `BF16`, `F8_E4M3`, `U8`."""
    shape: Shape
    """As stored: packed weights have the shape of their packing."""
    bytes: int
    file: str = ""
    """The file that holds it, as the index names it."""
    offset: int = 0
    """Bytes between the end of that file's header and the tensor."""


class TensorFile(Struct, frozen=True):
    """One file of tensors whose header was read."""

    name: str
    header_bytes: int
    """Bytes of the header, the eight of its length included."""
    size: int | None = None
    """Bytes that there are of the file; None where nobody said."""
    is_cut: bool = False
    """Whether the file ends before its tensors do: a download that did not come to its end."""


class TensorHeaders(Struct, frozen=True):
    """All that a checkpoint's headers say."""

    tensors: tuple[TensorInfo, ...]
    """By file and place in it; every name is there once."""
    files: tuple[TensorFile, ...] = ()
    """The files that were read, by name."""
    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Of an unfinished download: each file that the index names and that is not there, or ends before its
    header does, with the names of its tensors; their dtypes and shapes are unknown."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What the headers' `__metadata__` says (`format`: `pt`), the first file's word where they differ."""
    notes: tuple[str, ...] = ()
    """What the user should know of them, a sentence each."""

    @property
    def total_bytes(self) -> int:
        """Bytes of all tensors that were read."""
        return sum(tensor.bytes for tensor in self.tensors)

    @property
    def header_bytes(self) -> int:
        """Bytes of all headers."""
        return sum(file.header_bytes for file in self.files)
