"""The result cache: records with module trees. A cached result needs neither torch nor transformers.

An entry is a file in huggingface_hub's folder for other libraries ($HF_HOME/assets/vlm-inspect). Its key is a
hash of everything that can change the result. A model whose entry cannot be read is built again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from vlm_inspect.core.architecture import SCHEMA_VERSION, Architecture
from vlm_inspect.core.errors import NotNativeError
from vlm_inspect.core.model_ref import ModelIdentity
from vlm_inspect.core.module_tree import ModuleTree
from vlm_inspect.core.options import Builder
from vlm_inspect.core.packages import HealthCheck
from vlm_inspect.storage import library_versions
from vlm_inspect.storage.atomic import atomic_write

LARGEST_ENTRY = 64 * 1024 * 1024
"""Bytes; a tree of 200,000 modules is smaller."""
MOST_ENTRIES = 4_096
"""Entries in the folder; the least recently used are removed."""
SUFFIX = ".answer"
"""Suffix of the files."""
_MOST_IN_MEMORY = 64 * 1024 * 1024
_DIGEST_BYTES = hashlib.sha256().digest_size
# no builder reads these
_IGNORED_KEYS = frozenset({"_name_or_path", "transformers_version"})
_MIB = 1 << 20


class CachedResult(Struct, frozen=True):
    """A built and described model."""

    architecture: Architecture
    tree: ModuleTree | None = None
    """None if it was not requested."""
    notes: tuple[str, ...] = ()


class _Entry(Struct, forbid_unknown_fields=True, omit_defaults=True):
    answer: tuple[msgspec.Raw, bytes, tuple[str, ...]] | None = None
    """A result: its record, its tree (decoded only on request), its notes."""
    refusal: tuple[str, str, str] | None = None
    """A NotNativeError: message, hint, short. Without it, transformers must be imported to find out."""


class ResultCache:
    """Results by key, in memory and in a folder that all processes share. Never raises OSError."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._recent: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0
        self._lock = Lock()

    def get(self, key: str, model: ModelIdentity, *, with_tree: bool) -> CachedResult | NotNativeError | None:
        """Return the result for this model, or None."""
        for content in self._candidates(key):
            with suppress(ValueError, RecursionError):
                result = _decode(content, model, with_tree=with_tree)
                self._put_in_memory(key, content)
                return result
        return None

    def put(self, key: str, result: CachedResult | NotNativeError) -> None:
        """Store a result, unless it is too large."""
        try:
            content = _encode(result)
        except (ValueError, OverflowError, TypeError, RecursionError):
            return
        if len(content) > LARGEST_ENTRY:
            return
        self._put_in_memory(key, content)
        if self._folder is not None:
            write_cached(self._folder / f"{key}{SUFFIX}", content)
            if key.startswith("00"):  # one key in 256: reading the folder takes time
                prune(self._folder)

    def _candidates(self, key: str) -> Iterator[bytes]:
        with self._lock:
            content = self._recent.get(key)
        if content is not None:
            yield content
        if self._folder is not None:
            path = self._folder / f"{key}{SUFFIX}"
            content = read_cached(path, LARGEST_ENTRY)
            if content is not None:
                with suppress(OSError):
                    os.utime(path)  # `prune` removes the least recently used
                yield content

    def _put_in_memory(self, key: str, content: bytes) -> None:
        with self._lock:
            self._size += len(content) - len(self._recent.pop(key, b""))
            self._recent[key] = content
            while self._size > _MOST_IN_MEMORY:
                self._size -= len(self._recent.popitem(last=False)[1])


@cache
def default_cache() -> ResultCache:
    """The cache of this user and process."""
    return ResultCache(cache_dir())


def cache_dir() -> Path:
    """The folder of the cache."""
    from huggingface_hub import constants

    return Path(constants.HF_ASSETS_CACHE) / "vlm-inspect" / "answers"


def prune(folder: Path, most: int = MOST_ENTRIES) -> None:
    """Remove the least recently used entries."""
    with suppress(OSError):
        entries = [entry for entry in os.scandir(folder) if entry.name.endswith(SUFFIX)]
        entries.sort(key=lambda entry: entry.stat().st_mtime_ns, reverse=True)
        for entry in entries[most:]:
            Path(entry).unlink(missing_ok=True)


def read_cached(path: Path, limit: int) -> bytes | None:
    """Read a file of `write_cached`; None if it is missing, damaged, or longer than the limit."""
    with suppress(OSError, ValueError):
        if path.is_file() and path.stat().st_size <= limit + _DIGEST_BYTES:
            data = path.read_bytes()
            content = data[_DIGEST_BYTES:]
            if data[:_DIGEST_BYTES] == hashlib.sha256(content).digest():
                return content
    return None


def write_cached(path: Path, content: bytes) -> None:
    """Write a digest and the content to a file, and create its folder; ignore errors."""
    with suppress(OSError, ValueError):
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, hashlib.sha256(content).digest() + content, durable=False)


def key_for_config(builder: Builder, config: Mapping[str, Any]) -> str | None:
    """Return the key of a result that depends only on the configuration; None if it cannot be cached."""
    versions = library_versions.library_versions()
    return None if versions is None else _digest(builder, versions, _without_ignored_keys(config))


def key_for_commit(builder: Builder, config: Mapping[str, Any], model: ModelIdentity) -> str | None:
    """Return the key of a result that depends on other files of the repo; None if it cannot be cached."""
    if model.source == "local":
        return None
    content = _without_ignored_keys(config)
    if builder == "header":
        return _digest(builder, None, content, model.source, model.id, model.revision)
    is_remote = builder == "remote-code"
    versions = library_versions.environment_versions() if is_remote else library_versions.library_versions()
    return None if versions is None else _digest(builder, versions, content, model.id, model.revision)


def key_for_ties(key: str, model: ModelIdentity, names: Collection[str]) -> str:
    """Return the key of a result that the names of the checkpoint's tensors decide, from that of the class.

    Of a commit the names are always the same: they may be left out.
    """
    return _digest("ties", key, *((model.id, model.revision) if model.revision else sorted(names)))


def _digest(*parts: object) -> str:
    text = json.dumps([SCHEMA_VERSION, library_versions.own_version(), *parts])
    return hashlib.sha256(text.encode()).hexdigest()


def _without_ignored_keys(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {key: _without_ignored_keys(data[key]) for key in data if key not in _IGNORED_KEYS}
    return [_without_ignored_keys(item) for item in data] if isinstance(data, list) else data


def _encode(result: CachedResult | NotNativeError) -> bytes:
    if isinstance(result, NotNativeError):
        entry = _Entry(refusal=(result.message, result.hint, result.short))
    else:
        from vlm_inspect.core import codec

        tree = b"" if result.tree is None else codec.to_bytes(result.tree)
        # MessagePack preserves every float
        entry = _Entry((msgspec.Raw(msgspec.msgpack.encode(result.architecture)), tree, result.notes))
    return msgspec.msgpack.encode(entry)


def _decode(data: bytes, model: ModelIdentity, *, with_tree: bool) -> CachedResult | NotNativeError:
    """Raises ValueError (also the base class of msgspec's errors) if the data is not an entry."""
    entry = msgspec.msgpack.decode(data, type=_Entry)
    if entry.answer is not None:
        data, tree_data, notes = entry.answer
        record = replace(msgspec.msgpack.decode(data, type=Architecture), model=model)
        if not (with_tree and tree_data):
            return CachedResult(record, None, notes)
        from vlm_inspect.core import codec  # a table needs no tree

        return CachedResult(record, codec.from_bytes(tree_data), notes)
    if entry.refusal is None:
        raise ValueError("the entry is empty")
    message, hint, short = entry.refusal
    return NotNativeError(message, hint=hint, model=model.id, short=short)


def run_checks() -> Iterator[HealthCheck]:
    """Check whether results are cached, and how many; nothing if huggingface_hub does not work."""
    with suppress(Exception):  # the check of huggingface_hub reports the error
        yield _check_cache()


def _check_cache() -> HealthCheck:
    from tempfile import TemporaryFile

    subject = "result cache"
    if library_versions.library_versions() is None:
        return HealthCheck(subject, "off: a library is installed in editable mode and may change", "note")
    folder = cache_dir()
    try:
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        with TemporaryFile(dir=existing):
            pass
        sizes = [path.stat().st_size for path in folder.glob(f"*{SUFFIX}")]
    except OSError as error:
        reason = error.strerror or type(error).__name__
        hint = "Choose another folder: HF_ASSETS_CACHE=DIR, or HF_HOME=DIR"
        return HealthCheck(subject, f"off: {folder} is not writable: {reason}", "note", hint)
    return HealthCheck(subject, f"{len(sizes)} in {folder}, {sum(sizes) / _MIB:.1f} MiB")
