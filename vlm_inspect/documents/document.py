"""A text file: read, updated and written back without a byte lost."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vlm_inspect.documents.refusals import READ_FAULTS, refusal
from vlm_inspect.documents.splicing import splice
from vlm_inspect.documents.writing import write_atomically
from vlm_inspect.errors import DocumentError


@dataclass(frozen=True, slots=True)
class Document:
    """A file's text, whose encoding gives back the file's bytes, whatever they are."""

    path: Path
    text: str

    def updated(self, blocks: Mapping[str, str]) -> str:
        """The text with the inside of its blocks replaced; equal to `text` where nothing is stale."""
        return splice(self.text, blocks, name=str(self.path))

    def write(self, text: str) -> bool:
        """Put `text` in the file's place. True where that changed the file."""
        return write_atomically(self.path, text.encode("utf-8", "surrogateescape"))


def read_document(path: Path) -> Document:
    """Read a text file. Raises DocumentError where there is none, or its encoding is UTF-16 or UTF-32."""
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise refusal(path, "read", error, READ_FAULTS) from error
    if _is_utf16(data):
        raise DocumentError(
            f"{path} is a UTF-16 or UTF-32 file; vlm-inspect reads UTF-8.",
            hint=f"Save {path} as UTF-8.",
        )
    return Document(path, data.decode("utf-8", "surrogateescape"))


def _is_utf16(data: bytes) -> bool:
    word = "vlm-inspect:"
    starts = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
    return data.startswith(starts) or word.encode("utf-16-le") in data or word.encode("utf-16-be") in data
