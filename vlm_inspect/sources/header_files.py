"""Headers of safetensors files on this machine."""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from vlm_inspect.errors import BadHeaderError
from vlm_inspect.sources.header_format import LENGTH_BYTES, Lengths
from vlm_inspect.sources.tensor_files import RawHeader, Shards

_LFS_POINTER = b"version "  # a pointer's first eight bytes, which as a length would be 2**60


class Folder:
    """A folder that a model was saved, downloaded or cloned to."""

    may_be_unfinished = True

    def __init__(self, folder: Path, model: str) -> None:
        self._folder = folder
        self._model = model
        self._lengths = Lengths(model)

    def headers(self, shards: Shards) -> Mapping[str, RawHeader | None]:
        """The headers of these files; None of one that is not there, or is only a Git LFS pointer to it."""
        return {name: read_header(self._folder / name, name, self._model, self._lengths) for name in shards}

    def whole(self, name: str, limit: int) -> bytes | None:
        """A small file's content, no more than one byte beyond the limit; None where it is not there."""
        path = self._folder / name
        if not path.is_file():
            return None
        with path.open("rb") as file:
            return file.read(limit + 1)

    def names(self) -> Sequence[str]:
        """The names of the files in the folder."""
        return sorted(path.name for path in self._folder.iterdir())


def read_header(path: Path, name: str, model: str, lengths: Lengths) -> RawHeader | None:
    """A file's header and no more; None where there is no file, or a Git LFS pointer in its place."""
    if not path.exists():
        return None
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # a device would be read for ever, a pipe waited for
        raise BadHeaderError(f"{model}: {name} is not a file.", hint="Look what it is.", model=model)
    with path.open("rb") as file:
        start = file.read(LENGTH_BYTES)
        if start == _LFS_POINTER:
            return None
        if len(start) < LENGTH_BYTES:
            return RawHeader(None, 0, status.st_size)
        length = lengths.read(start, name)
        text = file.read(length)
    return RawHeader(text if len(text) == length else None, length, status.st_size)
