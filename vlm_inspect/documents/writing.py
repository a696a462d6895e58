"""Writing files: at once or not at all, or at the end of what is there."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from vlm_inspect.documents.refusals import WRITE_FAULTS, refusal
from vlm_inspect.errors import DocumentError


def append_text(path: Path, text: str) -> None:
    """Add to the end of a file that others add to as well. Raises DocumentError."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise DocumentError(f"{path}: cannot be written: {error.strerror or error}") from error


def write_atomically(path: Path, data: bytes) -> bool:
    """Give a file new contents, at once or not at all. True where that changed it.

    A symbolic link is followed, permissions are kept, and a file that holds `data` already is not
    written. Raises DocumentError, and the old file is whole, where it cannot be done.
    """
    try:
        return _write(Path(os.path.realpath(path)), data)
    except (OSError, ValueError) as error:
        raise refusal(path, "written", error, WRITE_FAULTS) from error


def _write(target: Path, data: bytes) -> bool:
    old = _status(target)
    if old and not stat.S_ISREG(old.st_mode):
        # A device or a pipe (/dev/stdout, /dev/null) is written to; to replace it would break it.
        target.write_bytes(data)
        return True
    if old and _holds(target, data, old.st_size):
        return False
    if old and not os.access(target, os.W_OK):
        # To replace a file takes the folder's permission alone, but who protects a file means it.
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(target))
    _replace(target, data, old)
    return True


def _status(target: Path) -> os.stat_result | None:
    try:
        return target.stat()
    except FileNotFoundError:
        return None


def _holds(target: Path, data: bytes, size: int) -> bool:
    try:
        return size == len(data) and target.read_bytes() == data
    except PermissionError:
        return False


def _replace(target: Path, data: bytes, old: os.stat_result | None) -> None:
    # Short and without the target's name, which may already be as long as a name can be.
    temporary = target.parent / f".vlm-inspect-{os.urandom(8).hex()}.tmp"
    try:
        with temporary.open("xb") as file:
            if old:
                _copy_owner_and_mode(target, temporary, old)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:  # Ctrl-C leaves no temporary file behind either
        with suppress(OSError):
            temporary.unlink()
        raise
    _flush_folder(target.parent)


def _copy_owner_and_mode(target: Path, temporary: Path, old: os.stat_result) -> None:
    """Before anything is written, so that a private file's text is never in a public one."""
    if hasattr(os, "chown"):
        with suppress(OSError):  # only root may give files away
            os.chown(temporary, old.st_uid, old.st_gid)
    shutil.copymode(target, temporary)


def _flush_folder(folder: Path) -> None:
    """Make the new name survive a power cut, where the system can; the file itself is already safe."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
