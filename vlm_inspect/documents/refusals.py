"""Why a file could not be read or written, and what to do next."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from pathlib import Path

from vlm_inspect.errors import DocumentError

READ_FAULTS = {
    errno.ENOENT: "there is no such file",
    errno.ENOTDIR: "a part of its path is a file, not a folder",
    errno.EISDIR: "it is a folder, not a file",
    errno.EACCES: "you have no permission to read it",
    errno.EPERM: "you have no permission to read it",
    errno.ELOOP: "it is a symbolic link that leads back to itself",
    errno.ENAMETOOLONG: "its name is too long",
}
"""Why a file could not be read, by the system's number."""
WRITE_FAULTS = {
    **READ_FAULTS,
    errno.ENOENT: "its folder does not exist",
    errno.EACCES: "you have no permission to write it",
    errno.EPERM: "you have no permission to write it",
    errno.EROFS: "its file system is read-only",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your disk quota is used up",
    errno.EFBIG: "no file may grow as long as it would be",
    errno.EBUSY: "it is mounted as a file of its own, so that no other can take its place",
}
"""Why a file could not be written, by the system's number."""


def refusal(path: Path, done: str, error: Exception, faults: Mapping[int, str]) -> DocumentError:
    """The error for a file that could not be `done` (read, written), and why."""
    number = error.errno if isinstance(error, OSError) else None
    reason = faults.get(number or 0) or getattr(error, "strerror", None) or str(error)
    aside = " What was there before is unchanged." if done == "written" else ""
    return DocumentError(f"{str(path)!r} could not be {done}: {reason}.{aside}", hint=_hint(path, number))


def _hint(path: Path, number: int | None) -> str:
    """The next thing to do, where one is likely to help."""
    if number in (errno.EACCES, errno.EPERM):
        return f"See who owns it: ls -ld {path.parent} {path}"
    if number in (errno.ENOSPC, errno.EDQUOT):
        return "Free some space, then run the same command again."
    if number == errno.ENOENT:
        return f"See what is there: ls {path.parent}"
    return ""
