"""The markers in a text: found outside code, and refused where they are misspelt."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from msgspec import Struct

from vlm_inspect.documents.commonmark import BOM, LINE_END, lines_outside_code, without_inline_code
from vlm_inspect.errors import DocumentError

# What looks like a marker must be one: a marker with a slip in it is an error and never plain text.
MARKER_LIKE = re.compile(r"<!--[ \t]*vlm-inspect[ \t]*:", re.IGNORECASE)
"""The start of a marker, or of what was meant as one."""

_MARKER = re.compile(
    r" {0,3}<!--[ \t]*vlm-inspect:[ \t]*"
    r"(?:(?P<begin>begin)[ \t]+(?P<begun>[A-Za-z0-9][A-Za-z0-9_.\-]*)"
    r"|end(?:[ \t]+(?P<ended>[A-Za-z0-9][A-Za-z0-9_.\-]*))?)"
    r"[ \t]*-->[ \t]*"
)


class Marker(Struct, frozen=True):
    """One marker of a text, from the start of its line to the start of the next."""

    kind: Literal["begin", "end"]
    name: str
    """Empty where an end marker leaves it out."""
    line: int
    start: int
    stop: int


def find_markers(text: str, name: str) -> Iterator[Marker]:
    """The markers outside code. Raises DocumentError at one that is not quite a marker."""
    for number, start, line in lines_outside_code(text):
        if not MARKER_LIKE.search(line):
            continue
        match = _MARKER.fullmatch(line.removeprefix(BOM) if start == 0 else line)
        if match:
            stop = start + len(line)
            stop += len(ending.group()) if (ending := LINE_END.match(text, stop)) else 0
            kind: Literal["begin", "end"] = "begin" if match["begin"] else "end"
            yield Marker(kind, match["begun"] or match["ended"] or "", number, start, stop)
        elif MARKER_LIKE.search(without_inline_code(line)):
            raise _misspelt(line, number, name)


def marker_lines(name: str) -> tuple[str, str]:
    """The two lines that mark a block of this name."""
    return f"<!-- vlm-inspect:begin {name} -->", f"<!-- vlm-inspect:end {name} -->"


def _misspelt(line: str, number: int, name: str) -> DocumentError:
    begin, end = marker_lines("NAME")
    return DocumentError(
        f"{name}, line {number}: {line.strip()[:200]!r} looks like a marker of vlm-inspect and is none.",
        hint=f"A marker is a line of its own: {begin} or {end}. NAME is letters, digits, '_', '.' and '-'. "
        "To show one as text, put it in backticks or in a code block.",
    )
