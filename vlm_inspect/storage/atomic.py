"""Atomic file replacement, safe against crashes and concurrent writers."""

from __future__ import annotations

import atexit
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from vlm_inspect.core.errors import DocumentError

_LOCK_SECONDS = 10.0
# clearer than the messages of the system
_REASONS = {
    errno.EBUSY: "the file is a mount point and cannot be replaced",
    errno.EFBIG: "file size limit exceeded (ulimit -f)",
    errno.EISDIR: "it is a directory",
    errno.ENOENT: "there is no such file or directory",
}


def atomic_write(path: Path, data: bytes, *, durable: bool = True, temp_dir: Path | None = None) -> None:
    """Replace a file with a temporary file and a rename: readers see the old content or the new one.

    The mode of the file is preserved. A symbolic link is replaced, not followed. `durable` waits until the
    data is on the disk. Raises OSError; the file is then unchanged.
    """
    temp = (temp_dir or path.parent) / f".vlm-inspect-{os.urandom(8).hex()}.tmp"
    remove = partial(temp.unlink, missing_ok=True)
    atexit.register(remove)  # a signal ends the program without unwinding
    try:
        with temp.open("xb") as file:
            with suppress(OSError):  # before the first byte, so that a private file stays private
                temp.chmod(path.stat().st_mode & 0o7777)
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temp.replace(path)
    except BaseException:
        with suppress(OSError):
            remove()
        raise
    finally:
        atexit.unregister(remove)


def write_file(path: Path, data: bytes) -> bool:
    """Write a user's file atomically; return whether its content changed.

    Symbolic links are followed. A device or a pipe is written to, not replaced. A file without write
    permission is an error, even if its folder allows to replace it.
    Raises DocumentError; the file is then unchanged.
    """
    try:
        return _write_or_replace(path, data)
    except (OSError, ValueError) as error:
        raise io_error(path, "written", error) from error


def append_text(path: Path, text: str) -> None:
    """Append text to a file. Raises DocumentError."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except (OSError, ValueError) as error:
        raise io_error(path, "written", error) from error


@contextmanager
def directory_lock(folder: Path) -> Iterator[None]:
    """Hold a lock against other vlm-inspect processes that update files of this folder.

    The lock file is in the system's temporary folder. If it cannot be acquired, the work is done without it.
    """
    import tempfile
    import zlib

    from filelock import FileLock, Timeout  # loads asyncio: too slow for the top of this file

    lock = None
    with suppress(OSError, Timeout):
        name = f"vlm-inspect-{zlib.crc32(os.fsencode(os.path.realpath(folder))):08x}.lock"
        lock = FileLock(Path(tempfile.gettempdir()) / name, timeout=_LOCK_SECONDS)
        lock.acquire()
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


def io_error(path: Path, action: str, error: Exception) -> DocumentError:
    """Return the error for a file that could not be "read" or "written"."""
    number = getattr(error, "errno", None)
    reason = _REASONS.get(number or 0) or getattr(error, "strerror", None) or str(error)
    unchanged = " The file is unchanged." if action == "written" else ""
    hint = ""
    if number in (errno.EACCES, errno.EPERM):
        hint = f"Check its owner: ls -ld {path.parent} {path}"
    elif number in (errno.ENOSPC, errno.EDQUOT):
        hint = "Free some space, then run the same command again."
    elif number == errno.ENOENT:
        hint = f"Check the path: ls {path.parent}"
    return DocumentError(f"{str(path)!r} could not be {action}: {reason}.{unchanged}", hint=hint)


def _write_or_replace(path: Path, data: bytes) -> bool:
    if path.exists() and not path.is_file():  # /dev/stdout may be a link to a pipe that has no path
        path.write_bytes(data)
        return True
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    if target.exists():
        if target.stat().st_size == len(data) and target.read_bytes() == data:
            return False
        if not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    atomic_write(target, data)
    return True
