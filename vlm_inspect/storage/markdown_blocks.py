"""Marked blocks in text files: their content is generated, the text around them never changes.

A block is between the lines `<!-- vlm-inspect:begin NAME -->` and `<!-- vlm-inspect:end NAME -->`. Blocks
neither nest nor cross, and the end marker may leave out the name. As in CommonMark, a marker in a code block
or in inline code is only an example.
"""

from __future__ import annotations

import codecs
import difflib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from vlm_inspect.core.errors import DocumentError
from vlm_inspect.storage.atomic import directory_lock, io_error, write_file

_NAME = r"[A-Za-z0-9][A-Za-z0-9_.\-]*"
# str.splitlines also splits at form feeds and U+2028
_LINE = re.compile(r"([^\r\n]*)(\r\n|\r|\n|\Z)")
_LINE_END = re.compile(r"\r\n|\r|\n")
_BOM = "\ufeff"
_FENCE = re.compile(r" {0,3}(?P<fence>`{3,}(?=[^`]*\Z)|~{3,})(?P<info>.*)", re.DOTALL)
_INDENTED = ("    ", "\t", " \t", "  \t", "   \t")
_INLINE_CODE = re.compile(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", re.DOTALL)
# a misspelt marker is an error, not plain text
_MARKER_LIKE = re.compile(r"<!--[ \t]*vlm-inspect[ \t]*:", re.IGNORECASE)
_MARKER = re.compile(
    r" {0,3}<!--[ \t]*vlm-inspect:[ \t]*"
    rf"(?:begin[ \t]+(?P<begin>{_NAME})|(?P<end>end)(?:[ \t]+(?P<ended>{_NAME}))?)"
    r"[ \t]*-->[ \t]*"
)
# half a surrogate pair is valid in JSON, and cannot be encoded as UTF-8
_SURROGATES = re.compile("[\ud800-\udfff]")


class Document(Struct, frozen=True):
    """The text of a file; bytes that are not UTF-8 are surrogates."""

    path: Path
    text: str

    def updated(self, blocks: Mapping[str, str]) -> str:
        """Return the text with new content in its blocks."""
        return replace_blocks(self.text, blocks, name=str(self.path))

    def write(self, text: str) -> bool:
        """Write `text` to the file; return whether its content changed. Raises DocumentError."""
        return write_file(self.path, text.encode("utf-8", "surrogateescape"))


class _Marker(Struct, frozen=True):
    is_begin: bool
    name: str
    """Empty for an end marker without a name."""
    line: int
    start: int
    """Start of its line; `stop` is that of the next line."""
    stop: int
    newline: str


def read_document(path: Path) -> Document:
    """Read a text file. Raises DocumentError if it cannot be read, or is UTF-16 or UTF-32."""
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise io_error(path, "read", error) from error
    boms = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
    if data.startswith(boms) or any("vlm-inspect:".encode(f"utf-16-{end}") in data for end in ("le", "be")):
        raise DocumentError(
            f"{path} is a UTF-16 or UTF-32 file; vlm-inspect reads UTF-8.",
            hint=f"Save {path} as UTF-8.",
        )
    return Document(path, data.decode("utf-8", "surrogateescape"))


def update_document(path: Path, change: Callable[[Document], str]) -> bool:
    """Replace a file's text by the result of `change`; return whether the file changed.

    Other vlm-inspect processes that update files of the same folder wait. Raises DocumentError.
    """
    with directory_lock(Path(os.path.realpath(path)).parent):
        document = read_document(path)
        return document.write(change(document))


def block_names(text: str, *, name: str = "the text") -> tuple[str, ...]:
    """Return the names of the blocks in order. `name` is the file's, for errors. Raises DocumentError."""
    return tuple(begin.name for begin, _ in _find_blocks(text, name))


def replace_blocks(text: str, blocks: Mapping[str, str], *, name: str) -> str:
    """Replace the content of every block of `text`; not all `blocks` need to be in it.

    Raises DocumentError if markers are missing, duplicate, crossed, misspelt or unknown.
    """
    found = _find_blocks(text, name)
    if not found:
        raise _no_markers_error(text, blocks, name)
    parts, done = [], 0
    for begin, end in found:
        if begin.name not in blocks:
            raise _unknown_name_error(begin, blocks, name)
        parts += [text[done : begin.stop], _checked_content(begin, blocks[begin.name])]
        done = end.start
    return "".join([*parts, text[done:]])


def _checked_content(block: _Marker, content: str) -> str:
    """The new content with the file's line ending. Raises DocumentError if it would hide the end marker."""
    text = _SURROGATES.sub("\ufffd", content).rstrip("\r\n")
    inside = _LINE_END.sub(lambda _: block.newline, text) + block.newline if text else ""
    begin, end = (line + block.newline for line in _marker_lines(block.name))
    try:
        stops = [stop.start for _, stop in _find_blocks(begin + inside + end, "")]
    except DocumentError:
        stops = []
    if stops != [len(begin + inside)]:
        raise DocumentError(
            f"The text for block {block.name!r} contains a marker of vlm-inspect or an unclosed code fence; "
            "the block would not be found again."
        )
    return inside


def _find_blocks(text: str, name: str) -> list[tuple[_Marker, _Marker]]:
    """The begin and end marker of each block."""
    blocks: list[tuple[_Marker, _Marker]] = []
    markers = list(_find_markers(text, name))
    lines: dict[str, int] = {}
    opened: _Marker | None = None
    for marker in markers:
        if marker.is_begin:
            _check_begin(marker, opened, lines, markers, name)
            lines[marker.name], opened = marker.line, marker
        else:
            blocks.append((_begin_of(marker, opened, name), marker))
            opened = None
    if opened:
        raise _missing_end_error(opened, f"after the last line of block {opened.name!r}", name)
    return blocks


def _find_markers(text: str, name: str) -> Iterator[_Marker]:
    for number, start, line, newline in _lines_outside_code(text):
        if not _MARKER_LIKE.search(line):
            continue
        match = _MARKER.fullmatch(line.removeprefix(_BOM) if start == 0 else line)
        if match:
            stop = start + len(line) + len(newline)
            marked = match["begin"] or match["ended"] or ""
            yield _Marker(not match["end"], marked, number, start, stop, newline or "\n")
        elif _MARKER_LIKE.search(_INLINE_CODE.sub("", line)):
            begin, end = _marker_lines("NAME")
            raise DocumentError(
                f"{name}, line {number}: {line.strip()[:200]!r} looks like a marker of vlm-inspect but is not one.",
                hint=f"A marker is a line of its own: {begin} or {end}. NAME is letters, digits, '_', '.' "
                "and '-'. To show one as text, put it in backticks or in a code block.",
            )


def _lines_outside_code(text: str) -> Iterator[tuple[int, int, str, str]]:
    """Yield (number, start, line, line ending) of each line outside code blocks."""
    fence = ""
    for number, match in enumerate(_LINE.finditer(text), start=1):
        line = match[1]
        bars = _FENCE.match(line.removeprefix(_BOM) if number == 1 else line)
        if fence:
            if bars and bars["fence"].startswith(fence) and not bars["info"].strip(" \t"):
                fence = ""
        elif bars:
            fence = bars["fence"]
        elif not line.startswith(_INDENTED):
            yield number, match.start(), line, match[2]


def _marker_lines(name: str) -> tuple[str, str]:
    return f"<!-- vlm-inspect:begin {name} -->", f"<!-- vlm-inspect:end {name} -->"


def _begin_of(end: _Marker, opened: _Marker | None, name: str) -> _Marker:
    if opened is None:
        raise DocumentError(
            f"{name}, line {end.line}: this end marker has no begin marker.",
            hint=f"Add {_marker_lines(end.name or 'NAME')[0]} above it, or remove line {end.line}.",
        )
    if end.name not in ("", opened.name):
        raise DocumentError(
            f"{name}, line {end.line}: this ends block {end.name!r}, but the open block is {opened.name!r}, "
            f"which begins on line {opened.line}.",
            hint=f"Write {_marker_lines(opened.name)[1]} on line {end.line}, or above it.",
        )
    return opened


def _check_begin(
    marker: _Marker, opened: _Marker | None, lines: Mapping[str, int], markers: list[_Marker], name: str
) -> None:
    if marker.name in lines:
        raise DocumentError(
            f"{name}, line {marker.line}: block {marker.name!r} is already on line {lines[marker.name]}; "
            "a name may be used once.",
            hint=f"Give one of the two blocks another name, or remove the one on line {marker.line}.",
        )
    if opened is None:
        return
    ends = [end.line for end in markers if end.name == opened.name and not end.is_begin]
    if not ends:
        raise _missing_end_error(opened, f"above line {marker.line}, where block {marker.name!r} begins", name)
    raise DocumentError(
        f"{name}, line {marker.line}: block {marker.name!r} begins inside block {opened.name!r} "
        f"(lines {opened.line} to {ends[0]}); blocks neither nest nor cross.",
        hint=f"Move {_marker_lines(opened.name)[1]} above line {marker.line}.",
    )


def _missing_end_error(begin: _Marker, where: str, name: str) -> DocumentError:
    return DocumentError(
        f"{name}, line {begin.line}: block {begin.name!r} begins here and has no end marker.",
        hint=f"Add {_marker_lines(begin.name)[1]} {where}. An unclosed code fence hides markers, too.",
    )


def _no_markers_error(text: str, blocks: Mapping[str, str], name: str) -> DocumentError:
    lines = "\n".join(_marker_lines(next(iter(blocks), "NAME")))
    match = _MARKER_LIKE.search(text)
    number = len(_LINE_END.findall(text, 0, match.start())) + 1 if match else 0
    aside = f" (The marker on line {number} is code, an example.)" if match else ""
    return DocumentError(
        f"{name} has no markers for generated text.{aside}",
        hint=f"Add these two lines to {name} where the text should go:\n{lines}",
    )


def _unknown_name_error(block: _Marker, blocks: Mapping[str, str], name: str) -> DocumentError:
    closest = difflib.get_close_matches(block.name, blocks, n=1)
    known = f"has: {', '.join(blocks)}" if blocks else "has none"
    return DocumentError(
        f"{name}, line {block.line}: unknown marker {block.name!r}; the configuration {known}.",
        hint=f"Did you mean {closest[0]!r}?" if closest else "Rename the block, or add a table of that name.",
    )
