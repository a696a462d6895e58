"""Parse and check safetensors headers and the index of a sharded checkpoint.

huggingface_hub's parser does not check the format. Here names are unique, dtypes known, tensors adjacent,
and their lengths those of their shapes. https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import json
import math
import re
from collections import ChainMap
from collections.abc import Mapping, Sequence
from functools import partial
from threading import Lock
from typing import Any, Protocol

from msgspec import Struct

from vlm_inspect.core.checkpoint import TensorFile, TensorHeaders, TensorInfo
from vlm_inspect.core.errors import BadHeaderError, HubUnavailableError, NoHeadersError
from vlm_inspect.core.module_tree import is_path_part

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_model.safetensors"
LENGTH_BYTES = 8  # a file starts with the length of its header, little-endian
HEADER_LIMIT = 25_000_000  # bytes of a header, as in huggingface_hub; the largest published one has a million
ALL_HEADERS_LIMIT = 250_000_000  # bytes of all headers of a checkpoint
INDEX_LIMIT = 100_000_000  # bytes of an index; that of a trillion parameters has thirty million
MOST_SHARDS = 2_000  # files of a checkpoint; the largest published ones have about two hundred
MOST_TENSORS = 1_000_000  # tensors of a checkpoint; the largest models have about two hundred thousand

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
_LONGEST_FILE_NAME = 255
_SHOWN_CHARACTERS = 80
_SHOWN_NAMES = 3
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")
_SEPARATORS = re.compile(r"[/\\]")
_NUMBERED = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.safetensors")

Shards = Mapping[str, tuple[str, ...]]
"""The files of a checkpoint, each with the names of its tensors if there is an index."""


class Header(Struct, frozen=True):
    """The parsed header of one file."""

    tensors: tuple[TensorInfo, ...]  # in the order of their offsets
    metadata: dict[str, str]
    data_bytes: int  # bytes that must follow the header


class RawHeader(Struct, frozen=True):
    """A file's header before it is parsed."""

    text: bytes | None  # the JSON; None if the file ends before its header
    length: int = 0  # bytes of JSON, as the file states them
    size: int | None = None  # bytes of the whole file


class Files(Protocol):
    """The files of one model: a folder, or a repo at a commit."""

    def headers(self, shards: Shards) -> Mapping[str, RawHeader | None]:
        """The headers of these files; None for a file that is missing."""

    def read(self, name: str, limit: int) -> bytes | None:
        """A small file, up to one byte beyond the limit; None if there is none."""

    def names(self) -> Sequence[str]:
        """The names of all files, for the message about missing ones."""

    @property
    def may_be_unfinished(self) -> bool:
        """Whether a missing or short file may be an unfinished download."""


class HeaderLengths:
    """Reads the lengths of a model's headers and limits their sum: all are in memory at once."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._lock = Lock()
        self._total = 0

    def read(self, start: bytes, file: str) -> int:
        """The length of a header, from the first eight bytes of its file. Raises BadHeaderError."""
        length = int.from_bytes(start[:LENGTH_BYTES], "little")
        if length > HEADER_LIMIT:
            what = f"has a length of {length:,} bytes; the limit is {HEADER_LIMIT:,}"
        elif length < len("{}"):
            what = f"has a length of {length} bytes, which is too short" if length else "is empty"
        else:
            with self._lock:
                self._total += length
                if self._total <= ALL_HEADERS_LIMIT:
                    return length
            what = f"and the others have more than {ALL_HEADERS_LIMIT:,} bytes in total"
        raise _error(what, file, self._model)


def is_part_of_checkpoint(name: str) -> bool:
    """Whether a file has a name under which transformers or PEFT save a checkpoint or one of its shards."""
    return name in {SINGLE, ADAPTER} or _NUMBERED.fullmatch(name) is not None


def read_headers(files: Files, model: str, *, adapter: bool = False) -> TensorHeaders:
    """Read the headers of a model's files, or of its adapter's. Raises NoHeadersError or BadHeaderError."""
    name = ADAPTER if adapter else SINGLE
    found = files.headers({name: ()})
    if found[name] is not None:  # as in transformers, a single file has precedence over shards
        return merge_headers({name: ()}, found, model, may_be_unfinished=False)
    shards, notes = ({}, ()) if adapter else _shards(files, model)
    if not shards:
        raise _no_headers(files.names(), model, adapter=adapter)
    return merge_headers(shards, files.headers(shards), model, notes, may_be_unfinished=files.may_be_unfinished)


def read_names(files: Files, model: str, expected: Sequence[str], *, is_sharded: bool) -> frozenset[str]:
    """Read the names of a model's tensors; empty if there is neither an index nor a single file.

    With the right guess of `is_sharded`, one file is read: the index, or the header of the single file, whose
    length is estimated by the `expected` names. Raises SourceError.
    """
    readers = (partial(_names_in_index, files, model), partial(_names_in_single_file, files, model, expected))
    first, second = readers if is_sharded else readers[::-1]
    try:
        names = first()
    except HubUnavailableError:  # offline, the other one may be cached
        return second()
    return names or second()


def _names_in_index(files: Files, model: str) -> frozenset[str]:
    text = files.read(INDEX, INDEX_LIMIT)
    shards = {} if text is None else parse_index(text, INDEX, model)
    return frozenset(name for names in shards.values() for name in names)


def _names_in_single_file(files: Files, model: str, expected: Sequence[str]) -> frozenset[str]:
    raw = files.headers({SINGLE: tuple(expected)})[SINGLE]
    if raw is None or raw.text is None:
        return frozenset()
    return frozenset(tensor.name for tensor in parse_header(raw.text, SINGLE, model).tensors)


def merge_headers(
    shards: Shards,
    found: Mapping[str, RawHeader | None],
    model: str,
    notes: tuple[str, ...] = (),
    *,
    may_be_unfinished: bool,
) -> TensorHeaders:
    """Merge the headers of several files. Raises BadHeaderError if a file is missing or malformed."""
    missing, headers, files = {}, {}, []
    for name, names in shards.items():
        raw = found.get(name)
        if raw is not None and raw.text is not None:
            headers[name] = parse_header(raw.text, name, model)
            files.append(_file(name, raw, headers[name], model))
        elif may_be_unfinished:
            missing[name] = names
        else:
            raise _missing(raw, name, model)
    tensors = _without_duplicates(shards, headers)
    if len(tensors) > MOST_TENSORS:
        what = f"and the others have more than {MOST_TENSORS:,} tensors in total"
        raise _error(what, next(iter(shards)), model)
    return TensorHeaders(
        tensors=tuple(tensors.values()),
        files=tuple(files),
        missing=missing,
        metadata=dict(ChainMap(*(header.metadata for header in headers.values()))),
        notes=(*notes, *_disagreements(shards, headers, tensors)),
    )


class _FormatError(Exception):
    """The message continues "the header of FILE …" or "the index of FILE …"."""


def parse_header(text: bytes, file: str, model: str) -> Header:
    """Parse the JSON of a header. Raises BadHeaderError if it is malformed."""
    try:
        return _header(_parse_object(text), file)
    except _FormatError as error:
        raise _error(str(error), file, model) from error.__cause__


def _header(data: dict[str, Any], file: str) -> Header:
    metadata = data.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(each, str) for each in metadata.values()):
        raise _FormatError("has a __metadata__ that does not map text to text")
    tensors = sorted(
        (_tensor(name, entry, file) for name, entry in data.items()),
        key=lambda tensor: (tensor.offset, tensor.bytes),
    )
    end = 0
    for tensor in tensors:
        if tensor.offset != end:
            fault = "overlaps the tensor before it" if tensor.offset < end else "leaves a gap before it"
            raise _FormatError(f"has offsets at which {_quoted(tensor.name)} {fault}")
        end += tensor.bytes
    return Header(tuple(tensors), metadata, end)


def _tensor(name: str, entry: Any, file: str) -> TensorInfo:
    _check_name(name)
    if not isinstance(entry, dict) or not {"dtype", "shape", "data_offsets"} <= entry.keys():
        raise _FormatError(f"has no dtype, shape and data_offsets for {_quoted(name)}")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise _FormatError(f"has an unknown dtype for {_quoted(name)}: {_quoted(str(dtype))}")
    if not _are_sizes(shape) or len(shape) > _MOST_DIMENSIONS:
        raise _FormatError(f"has an invalid shape for {_quoted(name)}: {_quoted(str(shape))}")
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:  # noqa: PLR2004 - start and end
        raise _FormatError(f"has invalid data_offsets for {_quoted(name)}: {_quoted(str(offsets))}")
    size = offsets[1] - offsets[0]
    if math.prod(shape) * _BITS[dtype] != size * 8:
        raise _FormatError(f"has {size:,} bytes for {_quoted(name)}, which do not match {dtype} of shape {shape}")
    return TensorInfo(name, dtype, tuple(shape), size, file, offsets[0])


def _parse_object(text: bytes) -> dict[str, Any]:
    try:
        data = json.loads(text.decode("utf-8"), object_pairs_hook=_without_duplicate_keys)
    except UnicodeDecodeError as error:
        raise _FormatError("is not UTF-8 text") from error
    except json.JSONDecodeError as error:
        raise _FormatError(f"is not JSON: {error.msg} at character {error.pos:,}") from error
    except ValueError as error:  # a number with thousands of digits
        raise _FormatError("has a number that is too long") from error
    except RecursionError as error:
        raise _FormatError("is nested too deep") from error
    if not isinstance(data, dict):
        raise _FormatError("is not a JSON object")
    return data


def _without_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for key, value in pairs:
        if key in data:
            raise _FormatError(f"has {_quoted(key)} twice")
        data[key] = value
    return data


def _check_name(name: str) -> str:
    """Return the name if it can be a parameter's: module names that are joined by dots."""
    if len(name) > _LONGEST_NAME:
        raise _FormatError(f"has a tensor whose name has {len(name):,} characters")
    if not all(map(is_path_part, name.split("."))) or not name.isprintable():
        raise _FormatError(f"has a tensor named {_quoted(name)}, which is not a valid parameter name")
    return name


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(size) is int and 0 <= size < _LARGEST for size in value)


def parse_index(text: bytes, file: str, model: str) -> dict[str, tuple[str, ...]]:
    """The files of an index, in order, each with the names of its tensors. Raises BadHeaderError."""
    try:
        return _index(text)
    except _FormatError as error:
        raise _error(str(error), file, model, subject="index") from error.__cause__


def _index(text: bytes) -> dict[str, tuple[str, ...]]:
    if len(text) > INDEX_LIMIT:
        raise _FormatError(f"has more than {INDEX_LIMIT:,} bytes")
    weight_map = _parse_object(text).get("weight_map")
    if not isinstance(weight_map, Mapping) or not weight_map:
        raise _FormatError("has no weight_map")
    files: dict[str, list[str]] = {}
    for name, shard in weight_map.items():
        files.setdefault(_check_shard(shard), []).append(_check_name(name))
    if len(files) > MOST_SHARDS:
        raise _FormatError(f"names {len(files):,} files; the limit is {MOST_SHARDS:,}")
    return {shard: tuple(files[shard]) for shard in sorted(files)}


def _check_shard(shard: Any) -> str:
    if not isinstance(shard, str) or not shard.endswith(".safetensors") or not shard.isprintable():
        raise _FormatError(f"names {_quoted(str(shard))}, which is not a safetensors file")
    parts = {*_SEPARATORS.split(shard)}
    if parts & {"", ".", ".."} or ":" in shard or len(shard) > _LONGEST_FILE_NAME:
        raise _FormatError(f"names {_quoted(shard)}, outside of the model's folder")
    return shard


def _shards(files: Files, model: str) -> tuple[Shards, tuple[str, ...]]:
    """The files of the index, or else those that one name implies: `model-00001-of-00004.safetensors`."""
    text = files.read(INDEX, INDEX_LIMIT)
    if text is not None:
        return parse_index(text, INDEX, model), ()
    note = f"{INDEX} is missing: files are found by their numbers. transformers cannot load them."
    for match in filter(None, map(_NUMBERED.fullmatch, sorted(files.names()))):
        stem, count = match["stem"], int(match["count"])
        if 0 < count <= MOST_SHARDS:
            numbers = range(1, count + 1)
            return {f"{stem}-{number:05d}-of-{count:05d}.safetensors": () for number in numbers}, (note,)
    return {}, ()


def _without_duplicates(shards: Shards, headers: Mapping[str, Header]) -> dict[str, TensorInfo]:
    """Each tensor by its name; of a tensor in two files, that of the file in the index."""
    tensors: dict[str, TensorInfo] = {}
    for file, header in headers.items():
        indexed = set(shards[file])
        tensors |= {each.name: each for each in header.tensors if each.name not in tensors or each.name in indexed}
    return tensors


def _disagreements(shards: Shards, headers: Mapping[str, Header], tensors: Mapping[str, TensorInfo]) -> list[str]:
    indexed = {name for names in shards.values() for name in names}
    if not indexed:
        return []
    absent = [name for file in headers for name in shards[file] if name not in tensors]
    unindexed = [name for name in tensors if name not in indexed]
    notes = []
    if absent:
        notes.append(f"The index names {_joined_names(absent)}, which its files do not contain.")
    if unindexed:
        notes.append(f"The files contain {_joined_names(unindexed)}, which the index does not name.")
    return notes


def _file(name: str, raw: RawHeader, header: Header, model: str) -> TensorFile:
    start = LENGTH_BYTES + raw.length
    end = start + header.data_bytes
    if raw.size is not None and raw.size > end:
        raise _error(f"is followed by {raw.size - end:,} bytes more than its tensors have", name, model)
    return TensorFile(name, start, raw.size, raw.size is not None and raw.size < end)


def _missing(raw: RawHeader | None, name: str, model: str) -> BadHeaderError:
    if raw is None:
        return _error("cannot be read: the index names the file, and it is missing", name, model)
    if not raw.length:
        what = f"is missing: the file has {raw.size} bytes, and the length alone takes eight"
        return _error(what, name, model)
    size = "" if raw.size is None else f", which has {raw.size:,}"
    return _error(f"has a length of {raw.length:,} bytes, beyond the end of the file{size}", name, model)


def _no_headers(names: Sequence[str], model: str, *, adapter: bool) -> NoHeadersError:
    pickle = next((name for name in names if name.endswith(_PICKLES) and "/" not in name), None)
    if pickle:
        return NoHeadersError(
            f"{model} has its weights in {pickle}, a pickle, which is never opened: "
            "only its configuration can be inspected.",
            hint="Use a revision with safetensors (MODEL@refs/pr/1), or convert them: save_pretrained.",
            model=model,
        )
    others = (".gguf", ".safetensors", ".msgpack", ".h5")
    other = next((name for name in names if name.endswith(others)), None)
    expected = ADAPTER if adapter else f"{SINGLE} and no {INDEX}"
    return NoHeadersError(
        f"{model} has no {expected}{f'; it has {other}' if other else ''}.",
        hint="Use the model or folder that has the weights.",
        model=model,
    )


def _error(what: str, file: str, model: str, *, subject: str = "header") -> BadHeaderError:
    return BadHeaderError(
        f"{model}: the {subject} of {_quoted(file)[1:-1]} {what}.",
        hint="Download the file again. If its author saved it like this, it cannot be loaded.",
        model=model,
    )


def _quoted(text: str) -> str:
    limit = _SHOWN_CHARACTERS
    return repr(text if len(text) <= limit else text[: limit - 1] + "…")


def _joined_names(names: Sequence[str]) -> str:
    rest = len(names) - _SHOWN_NAMES
    return ", ".join(names[:_SHOWN_NAMES]) + (f" and {rest} more" if rest > 0 else "")
