"""Bytes of a safetensors header -> its tensors, checked as the bytes of a stranger.

huggingface_hub's parser believes what it reads; this one holds a header to the format: no name twice, known
dtypes, places that lie end to end and hold what their shapes say. https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from threading import Lock
from typing import Any

from msgspec import Struct

from vlm_inspect.errors import BadHeaderError
from vlm_inspect.patterns import can_be_a_part
from vlm_inspect.tensors import TensorInfo

LENGTH_BYTES = 8
"""A file starts with the length of its header, little-endian."""
HEADER_LIMIT = 25_000_000
"""The longest header that is read, as huggingface_hub has it. Those of the largest models have less than a
million bytes."""
ALL_HEADERS_LIMIT = 250_000_000
"""Bytes that all headers of one checkpoint may have."""

_BITS = {
    **dict.fromkeys(("F4",), 4),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8"), 8),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
}
_LARGEST = 2**63
_MOST_DIMENSIONS = 32
_LONGEST_NAME = 1_000
_SHOWN = 80


class Header(Struct, frozen=True):
    """What one file's header says."""

    tensors: tuple[TensorInfo, ...]
    """In the order in which they lie in the file."""
    metadata: dict[str, str]
    data_bytes: int
    """Bytes that must follow the header."""


class Lengths:
    """Reads the lengths of a model's headers, and adds them up: all are in memory at once."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._lock = Lock()
        self._total = 0

    def read(self, start: bytes, file: str) -> int:
        """The length that a file's first eight bytes state. Raises BadHeaderError beyond a limit."""
        length = header_length(start, file, self._model)
        with self._lock:
            self._total += length
            total = self._total
        if total > ALL_HEADERS_LIMIT:
            what = f"and the others have more than {ALL_HEADERS_LIMIT:,} bytes together"
            raise bad_header(what, file, self._model)
        return length


def header_length(start: bytes, file: str, model: str) -> int:
    """The length that a file's first eight bytes state. Raises BadHeaderError for one that can be none."""
    if len(start) < LENGTH_BYTES:
        raise bad_header(f"has {len(start)} bytes, and a safetensors file starts with eight", file, model)
    length = int.from_bytes(start[:LENGTH_BYTES], "little")
    if length > HEADER_LIMIT:
        raise bad_header(f"says {length:,} bytes, and the limit is {HEADER_LIMIT:,}", file, model)
    if length < len("{}"):
        raise bad_header("is empty" if length == 0 else f"says {length} bytes, too few for one", file, model)
    return length


def parse_header(text: bytes, file: str, model: str) -> Header:
    """The tensors of a header's JSON. Raises BadHeaderError where it breaks the format."""
    data = json_object(text, file, model)
    metadata = data.pop("__metadata__", {})
    if not _is_metadata(metadata):
        raise bad_header("has a __metadata__ that does not map text to text", file, model)
    tensors = sorted(
        (_tensor(name, entry, file, model) for name, entry in data.items()),
        key=lambda tensor: (tensor.offset, tensor.bytes),
    )
    return Header(tuple(tensors), metadata, _end_to_end(tensors, file, model))


def json_object(text: bytes, file: str, model: str) -> dict[str, Any]:
    """The object that JSON text says, no key of it twice. Raises BadHeaderError for anything else."""
    cause: Exception
    try:
        data = json.loads(text.decode("utf-8"), object_pairs_hook=_no_key_twice)
    except _TwiceError as error:
        reason, cause = f"has {shown(error.args[0])} twice", error
    except UnicodeDecodeError as error:
        reason, cause = "is not UTF-8 text", error
    except json.JSONDecodeError as error:
        reason, cause = f"is not JSON: {error.msg} at character {error.pos:,}", error
    except ValueError as error:  # a number of thousands of digits
        reason, cause = "has a number that is too long to be one", error
    except RecursionError as error:
        reason, cause = "is nested too deep", error
    else:
        if isinstance(data, dict):
            return data
        raise bad_header("is not a JSON object", file, model)
    raise bad_header(reason, file, model) from cause


def check_name(name: str, file: str, model: str) -> str:
    """A tensor's name, if it can be one: parts between dots, none of them empty."""
    if len(name) > _LONGEST_NAME:
        raise bad_header(f"has a tensor whose name has {len(name):,} characters", file, model)
    if not all(map(can_be_a_part, name.split("."))) or not name.isprintable():
        raise bad_header(f"has a tensor named {shown(name)}, which no module can be", file, model)
    return name


def bad_header(what: str, file: str, model: str, *, subject: str = "header") -> BadHeaderError:
    """The error of a file that breaks the format."""
    return BadHeaderError(
        f"{model}: the {subject} of {shown(file)[1:-1]} {what}.",
        hint="Fetch the file again; where it is as its author saved it, it is damaged, and nothing loads it.",
        model=model,
    )


def shown(words: str) -> str:
    """A stranger's words in quotes, not long."""
    return repr(words if len(words) <= _SHOWN else words[: _SHOWN - 1] + "…")


def _tensor(name: str, entry: Any, file: str, model: str) -> TensorInfo:
    check_name(name, file, model)
    if not isinstance(entry, dict) or not {"dtype", "shape", "data_offsets"} <= entry.keys():
        raise bad_header(f"says of {shown(name)} no dtype, shape and data_offsets", file, model)
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise bad_header(f"gives {shown(name)} the dtype {shown(str(dtype))}, which is none", file, model)
    if not _are_sizes(shape) or len(shape) > _MOST_DIMENSIONS:
        raise bad_header(f"gives {shown(name)} a shape that is none: {shown(str(shape))}", file, model)
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:  # noqa: PLR2004 - start and end
        raise bad_header(f"gives {shown(name)} places that are none: {shown(str(offsets))}", file, model)
    size = offsets[1] - offsets[0]
    if math.prod(shape) * _BITS[dtype] != size * 8:
        raise bad_header(
            f"gives {shown(name)} {size:,} bytes, which are no {dtype} of shape {shape}", file, model
        )
    return TensorInfo(name, dtype, tuple(shape), size, file, offsets[0])


def _end_to_end(tensors: Iterable[TensorInfo], file: str, model: str) -> int:
    """Where the last tensor ends. The format leaves no byte between two tensors, and gives none to both."""
    end = 0
    for tensor in tensors:
        if tensor.offset != end:
            fault = (
                "overlaps the tensor before it" if tensor.offset < end else "leaves bytes before it unused"
            )
            raise bad_header(f"places {shown(tensor.name)} so that it {fault}", file, model)
        end += tensor.bytes
    return end


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(size) is int and 0 <= size < _LARGEST for size in value)


def _is_metadata(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(each, str) for each in value.values())


class _TwiceError(Exception):
    """A key that an object has twice."""


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        seen: set[str] = set()
        raise _TwiceError(next(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]
    return data
