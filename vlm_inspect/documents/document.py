"""A text file: read, updated and written back without a byte lost."""

from __future__ import annotations

import codecs
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct

from vlm_inspect.atomic_files import alone_in
from vlm_inspect.documents.refusals import READ_FAULTS, refusal
from vlm_inspect.documents.splicing import splice
from vlm_inspect.documents.writing import write_atomically
from vlm_inspect.errors import DocumentError

_TRIES = 20


class Document(Struct, frozen=True):
    """A file's text, whose encoding gives back the file's bytes, whatever they are."""

    path: Path
    text: str

    def updated(self, blocks: Mapping[str, str]) -> str:
        """The text with the inside of its blocks replaced; equal to `text` where nothing is stale."""
        return splice(self.text, blocks, name=str(self.path))

    def write(self, text: str) -> bool:
        """Put `text` in the file's place. False where the file is no longer what was read, and stays so."""
        return write_atomically(self.path, _bytes(text), instead_of=_bytes(self.text))


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


def update_document(path: Path, change: Callable[[Document], str]) -> bool:
    """Put in a file's place what `change` makes of it. True where that changed the file.

    Nobody's words are lost on the way: processes that update files of one folder wait for one another, and
    `change` is asked again where somebody who does not wait, as editors do not, was faster.
    """
    with alone_in(Path(os.path.realpath(path)).parent):
        for _ in range(_TRIES):
            document = read_document(path)
            text = change(document)
            if text == document.text:
                return False
            if document.write(text):
                return True
    raise DocumentError(
        f"{path} was edited each time that it was about to be written; nothing was changed.",
        hint="Stop what edits it, then run the same command again.",
    )


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _is_utf16(data: bytes) -> bool:
    word = "vlm-inspect:"
    starts = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
    return data.startswith(starts) or word.encode("utf-16-le") in data or word.encode("utf-16-be") in data
