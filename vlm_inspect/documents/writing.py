"""Writing files: at once or not at all, or at the end of what is there."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from vlm_inspect.atomic_files import replace_file
from vlm_inspect.documents.refusals import WRITE_FAULTS, refusal
from vlm_inspect.errors import DocumentError


def append_text(path: Path, text: str) -> None:
    """Add to the end of a file that others add to as well. Raises DocumentError."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise DocumentError(f"{path}: cannot be written: {error.strerror or error}") from error


def write_atomically(path: Path, data: bytes, *, instead_of: bytes | None = None) -> bool:
    """Give a file new contents, at once or not at all. True where that changed it.

    A symbolic link is followed, owner and permissions are kept, and a file that holds `data` already is
    not written, nor one that at the last moment holds anything else than what it is to be written
    `instead_of`. Raises DocumentError, and the old file is whole, where it cannot be done.
    """
    try:
        if _is_no_file(path):
            # A device or a pipe (/dev/stdout, /dev/null) is written to; to replace it would break it. Its
            # link is not followed by name: that of a pipe is `pipe:[4711]`.
            path.write_bytes(data)
            return True
        return _write(Path(os.path.realpath(path)), data, instead_of)
    except (OSError, ValueError) as error:
        raise refusal(path, "written", error, WRITE_FAULTS) from error


def _write(target: Path, data: bytes, instead_of: bytes | None) -> bool:
    old = _status(target)
    if old and _holds(target, data, old.st_size):
        return False
    if old and not os.access(target, os.W_OK):
        # To replace a file takes the folder's permission alone, but who protects a file means it.
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(target))
    if instead_of is None:
        return replace_file(target, data)
    return replace_file(target, data, unless=lambda: not _holds(target, instead_of, len(instead_of)))


def _is_no_file(path: Path) -> bool:
    status = _status(path)
    return status is not None and not stat.S_ISREG(status.st_mode)


def _status(target: Path) -> os.stat_result | None:
    try:
        return target.stat()
    except FileNotFoundError:
        return None


def _holds(target: Path, data: bytes, size: int) -> bool:
    try:
        return size == len(data) and target.read_bytes() == data
    except (PermissionError, FileNotFoundError):
        return False
