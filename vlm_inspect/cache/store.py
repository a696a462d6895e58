"""Where answers lie: in this process, and behind it in a folder that all processes share.

The folder is huggingface_hub's for what libraries keep ($HF_HOME/assets/vlm-inspect). An entry is a file,
whole or not there. No lock is needed, since two who write one key write the same.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Lock

from vlm_inspect.cache.entry import Answer, decoded, encoded
from vlm_inspect.errors import NotNativeError
from vlm_inspect.kept_files import keep, read_kept
from vlm_inspect.ref import ModelIdentity

LARGEST_ENTRY = 64 * 1024 * 1024
"""Bytes; a tree of 200,000 modules is below."""
MOST_ENTRIES = 4_096
"""In the folder; of more, those that were longest not asked for go."""
_MOST_IN_MEMORY = 64 * 1024 * 1024
SUFFIX = ".answer"
"""Of an entry's file."""


class AnswerStore:
    """Answers by their keys. A folder that cannot be read or written is done without."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._recent: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0
        self._lock = Lock()

    def get(self, key: str, model: ModelIdentity, *, with_tree: bool) -> Answer | NotNativeError | None:
        """The answer for this model; None where there is none, or none that can be read."""
        for content in self._found(key):
            with suppress(ValueError, RecursionError):
                answer = decoded(content, model, with_tree=with_tree)
                self._remember(key, content)
                return answer
        return None

    def put(self, key: str, made: Answer | NotNativeError) -> None:
        """Keep what was made; not what no file can hold."""
        try:
            content = encoded(made)
        except (ValueError, OverflowError, TypeError, RecursionError):
            return
        if len(content) <= LARGEST_ENTRY:
            self._remember(key, content)
            self._write(key, content)

    def _found(self, key: str) -> Iterator[bytes]:
        with self._lock:
            content = self._recent.get(key)
        if content is not None:
            yield content
        path = self._path(key)
        content = read_kept(path, LARGEST_ENTRY) if path is not None else None
        if path is not None and content is not None:
            with suppress(OSError):
                os.utime(path)
            yield content

    def _remember(self, key: str, content: bytes) -> None:
        with self._lock:
            self._size += len(content) - len(self._recent.pop(key, b""))
            self._recent[key] = content
            while self._size > _MOST_IN_MEMORY:
                self._size -= len(self._recent.popitem(last=False)[1])

    def _write(self, key: str, content: bytes) -> None:
        path = self._path(key)
        if path is None:
            return
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
        keep(path, content)
        if key.startswith("00"):  # one in 256: looking through the folder is not free
            prune(path.parent)

    def _path(self, key: str) -> Path | None:
        return self._folder / f"{key}{SUFFIX}" if self._folder is not None else None


def prune(folder: Path, most: int = MOST_ENTRIES) -> None:
    """Delete what was longest not asked for, where there is more than `most`."""
    with suppress(OSError):
        entries = [entry for entry in os.scandir(folder) if entry.name.endswith(SUFFIX)]
        entries.sort(key=lambda entry: entry.stat().st_mtime_ns, reverse=True)
        for entry in entries[most:]:
            Path(entry).unlink(missing_ok=True)


@cache
def shared() -> AnswerStore:
    """The store of this user; in this process alone where there is no folder to be had."""
    return AnswerStore(folder())


def folder() -> Path:
    """Where they lie."""
    from huggingface_hub import constants

    return Path(constants.HF_ASSETS_CACHE) / "vlm-inspect" / "answers"
