"""The marked blocks of a text: each begin marker and the end marker that belongs to it."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from vlm_inspect.documents.commonmark import LINE_END
from vlm_inspect.documents.markers import Marker, find_markers, marker_lines
from vlm_inspect.errors import DocumentError


class Block(Struct, frozen=True):
    """One block of a text, whose inside lies from `start` to `stop`."""

    name: str
    line: int
    start: int
    stop: int
    newline: str


def block_names(text: str, *, name: str = "the text") -> tuple[str, ...]:
    """The names of the marked blocks, in their order. `name` is the file's, for what an error says."""
    return tuple(block.name for block in find_blocks(text, name))


def find_blocks(text: str, name: str) -> list[Block]:
    """Every block from first to last. Raises DocumentError at the first marker without its partner."""
    blocks: list[Block] = []
    markers = list(find_markers(text, name))
    begun: dict[str, int] = {}
    opened: Marker | None = None
    for marker in markers:
        if marker.kind == "begin":
            _check_begin(marker, opened, begun, markers, name)
            begun[marker.name] = marker.line
            opened = marker
        else:
            blocks.append(_close(marker, opened, text, name))
            opened = None
    if opened:
        raise _missing_end(opened, f"after the last line of block {opened.name!r}", name)
    return blocks


def _close(end: Marker, opened: Marker | None, text: str, name: str) -> Block:
    if opened is None:
        called = end.name or "NAME"
        raise DocumentError(
            f"{name}, line {end.line}: this end marker has no begin marker.",
            hint=f"Add {marker_lines(called)[0]} above it, or remove line {end.line}.",
        )
    if end.name not in ("", opened.name):
        raise DocumentError(
            f"{name}, line {end.line}: this ends block {end.name!r}, and the open block is {opened.name!r}, "
            f"begun on line {opened.line}.",
            hint=f"Write {marker_lines(opened.name)[1]} on line {end.line}, or above it.",
        )
    newline = LINE_END.search(text, opened.start, opened.stop)
    return Block(opened.name, opened.line, opened.stop, end.start, newline.group() if newline else "\n")


def _check_begin(
    marker: Marker, opened: Marker | None, begun: Mapping[str, int], markers: list[Marker], name: str
) -> None:
    if marker.name in begun:
        raise DocumentError(
            f"{name}, line {marker.line}: block {marker.name!r} is already on line {begun[marker.name]}; "
            "a name may be used once.",
            hint=f"Give one of the two blocks another name, or remove the one on line {marker.line}.",
        )
    if opened is None:
        return
    ends = [end.line for end in markers if end.name == opened.name and end.kind == "end"]
    if not ends:
        raise _missing_end(opened, f"above line {marker.line}, where block {marker.name!r} begins", name)
    raise DocumentError(
        f"{name}, line {marker.line}: block {marker.name!r} begins inside block {opened.name!r} "
        f"(lines {opened.line} to {ends[0]}); blocks neither nest nor cross.",
        hint=f"Move {marker_lines(opened.name)[1]} above line {marker.line}.",
    )


def _missing_end(begin: Marker, where: str, name: str) -> DocumentError:
    return DocumentError(
        f"{name}, line {begin.line}: block {begin.name!r} begins here and has no end marker.",
        hint=f"Add {marker_lines(begin.name)[1]} {where}. A code fence that does not close hides it, too.",
    )
