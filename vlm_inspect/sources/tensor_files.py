"""Which files hold a checkpoint's tensors, wherever they lie, and what their headers say together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from vlm_inspect.errors import NoHeadersError
from vlm_inspect.sources.header_format import Header, bad_header, parse_header
from vlm_inspect.sources.shard_index import INDEX_LIMIT, numbered_shards, parse_index
from vlm_inspect.tensors import TensorFile, TensorHeaders, TensorInfo

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_model.safetensors"
MOST_TENSORS = 1_000_000
"""Tensors that are read of one checkpoint; those of the largest models have some two hundred thousand."""

_PICKLES = (".bin", ".pt", ".pth", ".ckpt")
_SHOWN_NAMES = 3

Shards = Mapping[str, tuple[str, ...]]
"""The files of a checkpoint, each with the tensors that the index says it holds, where there is an index."""


class RawHeader(Struct, frozen=True):
    """A file's header as it was found."""

    text: bytes | None
    """The JSON; None where the file ends before its header does."""
    length: int = 0
    """Bytes of JSON that the file says it has."""
    size: int | None = None
    """Bytes of the whole file."""


class Files(Protocol):
    """The files of one model: a folder, or a repo at a commit."""

    def headers(self, shards: Shards) -> Mapping[str, RawHeader | None]:
        """The headers of these files; None of one that is not there."""

    def whole(self, name: str, limit: int) -> bytes | None:
        """A small file's content, no more than one byte beyond the limit; None where it is not there."""

    def names(self) -> Sequence[str]:
        """The names of all files, to explain what is not there."""

    @property
    def may_be_unfinished(self) -> bool:
        """Whether a file that is missing or short is one that is still to come."""


def read_headers(files: Files, model: str, *, adapter: bool = False) -> TensorHeaders:
    """All that the headers of a model's files say, or of its adapter's.

    A single file is preferred to shards, as transformers prefers it. Raises NoHeadersError where there is no
    safetensors file, BadHeaderError for one that breaks the format.
    """
    name = ADAPTER if adapter else SINGLE
    found = files.headers({name: ()})
    if found[name] is not None:
        return merged({name: ()}, found, model, may_be_unfinished=False)
    shards, notes = ({}, ()) if adapter else _shards(files, model)
    if not shards:
        raise _no_headers(files.names(), model, adapter=adapter)
    return merged(shards, files.headers(shards), model, notes, may_be_unfinished=files.may_be_unfinished)


def merged(
    shards: Shards,
    found: Mapping[str, RawHeader | None],
    model: str,
    notes: tuple[str, ...] = (),
    *,
    may_be_unfinished: bool,
) -> TensorHeaders:
    """The headers of several files as one. A file that should be there and is not raises BadHeaderError."""
    missing, headers, files = {}, {}, []
    for name, names in shards.items():
        raw = found.get(name)
        if raw is not None and raw.text is not None:
            headers[name] = parse_header(raw.text, name, model)
            files.append(_file(name, raw, headers[name], model))
        elif may_be_unfinished:
            missing[name] = names
        else:
            raise _not_there(raw, name, model)
    tensors = _each_once(shards, headers)
    if len(tensors) > MOST_TENSORS:
        raise bad_header(f"and others name more than {MOST_TENSORS:,} tensors", next(iter(shards)), model)
    metadata: dict[str, str] = {}
    for header in reversed(headers.values()):
        metadata |= header.metadata
    return TensorHeaders(
        tensors=tuple(tensors.values()),
        files=tuple(files),
        missing=missing,
        metadata=metadata,
        notes=(*notes, *_disagreements(shards, headers, tensors)),
    )


def _shards(files: Files, model: str) -> tuple[Shards, tuple[str, ...]]:
    """The files that the index names, or, where it is missing, those that the names of others tell of."""
    text = files.whole(INDEX, INDEX_LIMIT)
    if text is not None:
        return parse_index(text, INDEX, model), ()
    shards = dict.fromkeys(numbered_shards(list(files.names())), ())
    note = f"{INDEX} is missing: the files are known by their numbers, and nothing loads them without it."
    return shards, (note,) if shards else ()


def _each_once(shards: Shards, headers: Mapping[str, Header]) -> dict[str, TensorInfo]:
    """Every tensor by its name; where two files hold one, that of the file that the index names."""
    tensors: dict[str, TensorInfo] = {}
    for file, header in headers.items():
        named = set(shards[file])
        for tensor in header.tensors:
            if tensor.name not in tensors or tensor.name in named:
                tensors[tensor.name] = tensor
    return tensors


def _disagreements(
    shards: Shards, headers: Mapping[str, Header], tensors: Mapping[str, TensorInfo]
) -> list[str]:
    """What the index says and its files do not, and the other way round, in a sentence each."""
    named = {name for names in shards.values() for name in names}
    if not named:
        return []
    absent = [name for file in headers for name in shards[file] if name not in tensors]
    unnamed = [name for name in tensors if name not in named]
    said = []
    if absent:
        said.append(f"The index names {_list(absent)}, which its files do not hold.")
    if unnamed:
        said.append(f"The files hold {_list(unnamed)}, which the index does not name.")
    return said


def _list(names: Sequence[str]) -> str:
    rest = len(names) - _SHOWN_NAMES
    return ", ".join(names[:_SHOWN_NAMES]) + (f" and {rest} more" if rest > 0 else "")


def _file(name: str, raw: RawHeader, header: Header, model: str) -> TensorFile:
    start = 8 + raw.length
    if raw.size is not None and raw.size > start + header.data_bytes:
        extra = raw.size - start - header.data_bytes
        raise bad_header(f"accounts for all but {extra:,} of the file's bytes", name, model)
    is_cut = raw.size is not None and raw.size < start + header.data_bytes
    return TensorFile(name, start, raw.size, is_cut)


def _not_there(raw: RawHeader | None, name: str, model: str) -> Exception:
    if raw is None:
        return bad_header("cannot be read: the index names the file, and it is not there", name, model)
    if not raw.length:
        return bad_header(
            f"is not there: the file has {raw.size} bytes, and it starts with eight", name, model
        )
    has = "" if raw.size is None else f", which has {raw.size:,}"
    return bad_header(f"says {raw.length:,} bytes, more than follow in the file{has}", name, model)


def _no_headers(names: Sequence[str], model: str, *, adapter: bool) -> NoHeadersError:
    """Why there are none, as far as the other files tell."""
    pickle = next((name for name in names if name.endswith(_PICKLES) and "/" not in name), None)
    if pickle:
        return NoHeadersError(
            f"{model} has its weights as {pickle}, a pickle, which is never opened: "
            "only its configuration can be answered.",
            hint="Look for a revision with safetensors (MODEL@refs/pr/1), or save it so: save_pretrained.",
            model=model,
        )
    other = next(
        (name for name in names if name.endswith((".gguf", ".safetensors", ".msgpack", ".h5"))), None
    )
    beside = f"; it has {other}" if other else ""
    wanted = ADAPTER if adapter else f"{SINGLE} and no {INDEX}"
    return NoHeadersError(
        f"{model} has no {wanted}{beside}.",
        hint="Name the model (or the folder) that holds the weights.",
        model=model,
    )
