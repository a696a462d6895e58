"""Files that get new contents at once or not at all, whoever is killed meanwhile and whoever does the same.

The new file is written whole beside the old one and renamed over it, so that every reader sees the one or
the other. As long as it is written it is locked: what a killed process left is known by its name and by
being locked by nobody, and the next process that writes in the folder takes it away.

The libraries for this end where it begins: `atomicwrites` is no longer kept, and no other one flushes,
keeps owner and mode, and cleans up after a killed process.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

if sys.platform != "win32":
    import fcntl

_TEMPORARY = re.compile(r"\.vlm-inspect-[0-9a-f]{16}\.tmp")
# a link or a pipe of such a name is none of ours
_NOT_WAITING = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_PATIENCE = 10.0
_PAUSE = 0.01


def replace_file(
    target: Path,
    data: bytes,
    *,
    precious: bool = True,
    unless: Callable[[], bool] | None = None,
    folder: Path | None = None,
) -> bool:
    """Give a file new contents, at once or not at all. Raises OSError, and the old file is whole.

    A symbolic link is itself replaced; of a file with several names only this one gets the new contents,
    as a copy that shares them with its original must not change it. `unless` is asked at the last moment,
    when the new file is ready: where it says True nothing is changed, and the answer is False.

    A precious file keeps its owner, mode and attributes, and survives a power cut: the old one, or the new
    one from here on. Any other, which can be made again, waits for no disk; since a rename may be on it
    before what was renamed, such a file may come out of a power cut empty or torn.

    Until it is whole the new file lies in `folder`, which is the target's own unless another is named.
    """
    folder = folder or target.parent
    take_leftovers_away(folder)
    with _new_file_in(folder) as (file, path):
        if precious:
            _dress(path, target)
        file.write(data)
        file.flush()
        if precious:
            os.fsync(file.fileno())
        if unless is not None and unless():
            return False
        if sys.platform == "win32":  # where an open file cannot be renamed
            file.close()
        path.replace(target)
    if precious:
        _flush_folder(target.parent)
    return True


@contextmanager
def alone_in(folder: Path, patience: float = _PATIENCE) -> Iterator[None]:
    """Be the only process in this folder that asked to be, as who reads a file to write it again must.

    The folder itself is locked, which leaves no file behind, not even of a killed process. Where it cannot
    be, or stays locked longer than `patience`, nobody waits: a lock must not keep anyone from working.
    """
    descriptor = None
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
    try:
        if descriptor is not None:
            end = time.monotonic() + patience
            while not _lock(descriptor) and time.monotonic() < end:
                time.sleep(_PAUSE)
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


@cache
def take_leftovers_away(folder: Path) -> None:
    """Remove what killed processes left unfinished in a folder; once in a process, as it looks at all."""
    with suppress(OSError), os.scandir(folder) as entries:
        left = [Path(entry.path) for entry in entries if _TEMPORARY.fullmatch(entry.name)]
        for path in left:
            _remove_if_nobodys(path)


@contextmanager
def _new_file_in(folder: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """An empty file, locked while this lasts; whatever still has its name in the end is removed."""
    while True:
        # Short and without the target's name, which may already be as long as a name can be.
        path = folder / f".vlm-inspect-{os.urandom(8).hex()}.tmp"
        try:
            with path.open("xb") as file:
                if not _claim(file):
                    continue
                yield file, path
                return
        finally:  # Ctrl-C leaves no temporary file behind either
            with suppress(OSError):
                path.unlink()


def _claim(file: BinaryIO) -> bool:
    """Lock a new file; False where it was taken for a leftover before that."""
    return _lock(file.fileno()) and os.fstat(file.fileno()).st_nlink > 0


def _remove_if_nobodys(path: Path) -> None:
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | _NOT_WAITING)
        try:
            if _lock(descriptor, sure=True):
                path.unlink()
        finally:
            os.close(descriptor)


def _lock(descriptor: int, *, sure: bool = False) -> bool:
    """Lock an open file until it is closed; False where somebody else has.

    Where there are no locks (Windows, some file systems) the answer is that nobody has, unless one must
    be `sure`: there nothing is ever taken for a leftover.
    """
    if sys.platform != "win32":
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return not sure
        return True
    return not sure


def _dress(new: Path, old: Path) -> None:
    """Owner, group, mode and attributes (access lists are some) of the file that is to be replaced.

    Before anything is written, so that a private file's text is never in a public one.
    """
    try:
        status = old.stat()
    except FileNotFoundError:
        return
    if hasattr(os, "chown"):
        for owner, group in ((-1, status.st_gid), (status.st_uid, -1)):
            with suppress(OSError):  # only root may give files away; of a group one must be a member
                os.chown(new, owner, group)
    shutil.copymode(old, new)
    if hasattr(os, "listxattr"):
        with suppress(OSError):
            for name in os.listxattr(old):
                _copy_attribute(name, old, new)


def _copy_attribute(name: str, old: Path, new: Path) -> None:
    with suppress(OSError):  # some are the system's own
        os.setxattr(new, name, os.getxattr(old, name))


def _flush_folder(folder: Path) -> None:
    """Make the new name survive a power cut, where the system can; the file itself is already safe."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
