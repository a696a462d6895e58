"""Whether answers are kept, and how many are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from tempfile import TemporaryFile

from vlm_inspect.cache import fingerprint, store
from vlm_inspect.diagnosis import Finding

_SUBJECT = "kept answers"
_MIB = 1 << 20


def look() -> Iterator[Finding]:
    """What there is; nothing where huggingface_hub, which says where, does not work."""
    with suppress(Exception):  # told already, by those who look at that library
        yield _found()


def _found() -> Finding:
    folder = store.folder()
    if fingerprint.of_libraries() is None:
        said = "none: a library is editable, or not the installed one, and may change unnoticed"
        return Finding(_SUBJECT, said, "note")
    try:
        existing = next(place for place in (folder, *folder.parents) if place.exists())
        with TemporaryFile(dir=existing):
            pass
        sizes = [path.stat().st_size for path in folder.glob(f"*{store.SUFFIX}")]
    except OSError as error:
        said = f"none: {folder} cannot be written: {error.strerror or type(error).__name__}"
        return Finding(_SUBJECT, said, "note", "Name another folder: HF_ASSETS_CACHE=DIR, or HF_HOME=DIR")
    return Finding(_SUBJECT, f"{len(sizes)} in {folder}, {sum(sizes) / _MIB:.1f} MiB")
