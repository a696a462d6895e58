"""Files of a cache: what is read is exactly what was kept, or nothing, and nothing that is wrong stays.

A digest stands before the content. A file that was cut, overwritten, or never reached the disk whole is
as good as absent; whoever then makes the content anew and keeps it heals the cache. So nothing here waits
for a disk or for anyone, and nothing raises: a cache that cannot be used keeps nothing.
"""

from __future__ import annotations

import hashlib
import shutil
from contextlib import suppress
from pathlib import Path

from vlm_inspect.atomic_files import replace_file

_DIGEST_BYTES = hashlib.sha256().digest_size


def read_kept(path: Path, limit: int) -> bytes | None:
    """What was kept in a file; None where that is nothing, longer than the limit, or not what it was."""
    with suppress(OSError, ValueError):
        # a pipe of that name would be waited for
        if path.is_file() and path.stat().st_size <= limit + _DIGEST_BYTES:
            stored = path.read_bytes()
            digest, content = stored[:_DIGEST_BYTES], stored[_DIGEST_BYTES:]
            if digest == hashlib.sha256(content).digest():
                return content
    return None


def keep(path: Path, content: bytes) -> None:
    """Put content in a file, whole or not at all, whatever is in its place and whoever else does the same."""
    stored = hashlib.sha256(content).digest() + content
    with suppress(OSError, ValueError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        replace_file(path, stored, precious=False)
