"""Headers and indexes that were fetched once, kept under their commit, where nothing ever changes.

They lie in huggingface_hub's folder for what libraries keep ($HF_HOME/assets/vlm-inspect); where another
cache was named, in the repo's own folder there, with which they are deleted.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from vlm_inspect.kept_files import keep, read_kept
from vlm_inspect.sources.header_format import HEADER_LIMIT, LENGTH_BYTES
from vlm_inspect.sources.options import InspectOptions
from vlm_inspect.sources.tensor_files import RawHeader

_LIBRARY = "vlm-inspect"


class HeaderCache:
    """What is kept of one repo at one commit. A cache that cannot be written keeps nothing."""

    def __init__(self, repo: str, commit: str, options: InspectOptions) -> None:
        self._where = (repo.replace("/", "--"), commit)
        cache = options.cache_folder
        self._assets = cache / f"models--{self._where[0]}" / "assets" if cache else None

    def header(self, name: str) -> RawHeader | None:
        """A file's header, as `keep_header` kept it."""
        content = self.whole(f"{name}.header", HEADER_LIMIT + 2 * LENGTH_BYTES)
        if content is None or len(content) < LENGTH_BYTES:
            return None
        size = int.from_bytes(content[:LENGTH_BYTES], "little")
        return RawHeader(content[LENGTH_BYTES:], len(content) - LENGTH_BYTES, size)

    def keep_header(self, name: str, header: RawHeader) -> None:
        """Keep a header behind the size of its file; not one that is cut or of unknown size."""
        if header.text is not None and header.size is not None:
            self.keep(f"{name}.header", header.size.to_bytes(LENGTH_BYTES, "little") + header.text)

    def whole(self, name: str, limit: int) -> bytes | None:
        """A file that was kept, if it is not longer than the limit."""
        with suppress(OSError, ValueError):
            return read_kept(self._path(name), limit)
        return None

    def keep(self, name: str, content: bytes) -> None:
        """Write a file whole or not at all, whoever else writes it."""
        with suppress(OSError, ValueError):
            keep(self._path(name), content)

    def _path(self, name: str) -> Path:
        from huggingface_hub import cached_assets_path

        namespace, commit = self._where
        folder = cached_assets_path(_LIBRARY, namespace, commit, assets_dir=self._assets)
        return Path(folder) / name.replace("/", "--")
