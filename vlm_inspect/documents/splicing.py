"""Replacing the inside of the marked blocks of a text."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

from vlm_inspect.documents.blocks import Block, find_blocks
from vlm_inspect.documents.commonmark import LINE, LINE_END
from vlm_inspect.documents.markers import MARKER_LIKE, marker_lines
from vlm_inspect.errors import DocumentError

_SURROGATES = re.compile("[\ud800-\udfff]")


def splice(text: str, blocks: Mapping[str, str], *, name: str) -> str:
    """Replace the inside of each marked block of `text`; all else stays as it is, to the byte.

    `blocks` holds a text for every name that the file may use; not all must be in the file. `name` is
    the file's. Raises DocumentError where markers are missing, doubled, crossed, misspelt or unknown.
    """
    found = find_blocks(text, name)
    if not found:
        raise _no_markers(text, blocks, name)
    parts, done = [], 0
    for block in found:
        if block.name not in blocks:
            raise _unknown(block, blocks, name)
        parts += [text[done : block.start], _inside(block, blocks[block.name])]
        done = block.stop
    return "".join([*parts, text[done:]])


def _inside(block: Block, content: str) -> str:
    """The new inside of a block, in the block's line ending, with one line ending at its end."""
    # Half a surrogate pair, which JSON can hold, has no bytes in UTF-8.
    writable = _SURROGATES.sub("\ufffd", content).rstrip("\r\n")
    inside = LINE_END.sub(lambda _: block.newline, writable) + block.newline if writable else ""
    _check_inside(block, inside)
    return inside


def _check_inside(block: Block, inside: str) -> None:
    """Refuse a text after which the file's own markers would no longer be found."""
    begin, end = (line + block.newline for line in marker_lines(block.name))
    try:
        is_found = [found.stop for found in find_blocks(begin + inside + end, "")] == [len(begin + inside)]
    except DocumentError:
        is_found = False
    if not is_found:
        raise DocumentError(
            f"The text for block {block.name!r} holds a marker of vlm-inspect or a code fence that does not "
            "close, so that the block could not be found again.",
        )


def _no_markers(text: str, blocks: Mapping[str, str], name: str) -> DocumentError:
    lines = "\n".join(marker_lines(next(iter(blocks), "NAME")))
    shown = next((n for n, m in enumerate(LINE.finditer(text), 1) if MARKER_LIKE.search(m.group())), None)
    aside = f" (What stands on line {shown} is code, an example of a marker.)" if shown else ""
    return DocumentError(
        f"{name} has no markers that say where the generated text goes.{aside}",
        hint=f"Add these two lines to {name}, where it is to stand:\n{lines}",
    )


def _unknown(block: Block, blocks: Mapping[str, str], name: str) -> DocumentError:
    closest = difflib.get_close_matches(block.name, blocks, n=1)
    known = f"has: {', '.join(blocks)}" if blocks else "has none"
    return DocumentError(
        f"{name}, line {block.line}: unknown marker {block.name!r}; the configuration {known}.",
        hint=f"Did you mean {closest[0]!r}?" if closest else "Rename the block, or add a table of that name.",
    )
