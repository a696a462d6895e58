"""Text in files: marked blocks that are regenerated, and everything around them that is not touched.

A block lies between two comments, each on a line of its own::

    <!-- vlm-inspect:begin NAME -->
    what stands here is replaced
    <!-- vlm-inspect:end NAME -->

A file may hold several; they neither nest nor cross, and the name in the end marker may be left out.
As in CommonMark, a line that is indented by four spaces or stands in a code fence is an example of a
marker and not a marker.
"""

from __future__ import annotations

import codecs
import difflib
import errno
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vlm_inspect.errors import DocumentError

# Not str.splitlines: it also breaks at form feeds and U+2028, which end no line of a Markdown file.
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")
_LINE_END = re.compile(r"\r\n|\r|\n")
_FENCE = re.compile(r" {0,3}(?P<fence>`{3,}(?=[^`]*\Z)|~{3,})(?P<info>.*)", re.DOTALL)
_BACKTICKS = re.compile(r"`+")
_SURROGATES = re.compile("[\ud800-\udfff]")
_BOM = "\ufeff"

# What looks like a marker must be one: a marker with a slip in it is an error and never plain text.
_MARKER_LIKE = re.compile(r"<!--[ \t]*vlm-inspect[ \t]*:", re.IGNORECASE)
_MARKER = re.compile(
    r" {0,3}<!--[ \t]*vlm-inspect:[ \t]*"
    r"(?:(?P<begin>begin)[ \t]+(?P<begun>[A-Za-z0-9][A-Za-z0-9_.\-]*)"
    r"|end(?:[ \t]+(?P<ended>[A-Za-z0-9][A-Za-z0-9_.\-]*))?)"
    r"[ \t]*-->[ \t]*"
)

_READ_FAULTS = {
    errno.ENOENT: "there is no such file",
    errno.ENOTDIR: "a part of its path is a file, not a folder",
    errno.EISDIR: "it is a folder, not a file",
    errno.EACCES: "you have no permission to read it",
    errno.EPERM: "you have no permission to read it",
    errno.ELOOP: "it is a symbolic link that leads back to itself",
    errno.ENAMETOOLONG: "its name is too long",
}
_WRITE_FAULTS = {
    **_READ_FAULTS,
    errno.ENOENT: "its folder does not exist",
    errno.EACCES: "you have no permission to write it",
    errno.EPERM: "you have no permission to write it",
    errno.EROFS: "its file system is read-only",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your disk quota is used up",
}


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
        raise _refusal(path, "read", error, _READ_FAULTS) from error
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


# --- marked blocks


def block_names(text: str, *, name: str = "the text") -> tuple[str, ...]:
    """The names of the marked blocks, in their order. `name` is the file's, for what an error says."""
    return tuple(block.name for block in _blocks(text, name))


def splice(text: str, blocks: Mapping[str, str], *, name: str) -> str:
    """Replace the inside of each marked block of `text`; all else stays as it is, to the byte.

    `blocks` holds a text for every name that the file may use; not all must be in the file. `name` is
    the file's. Raises DocumentError where markers are missing, doubled, crossed, misspelt or unknown.
    """
    found = _blocks(text, name)
    if not found:
        raise _no_markers(text, blocks, name)
    parts, done = [], 0
    for block in found:
        if block.name not in blocks:
            raise _unknown(block, blocks, name)
        parts += [text[done : block.start], _inside(block, blocks[block.name])]
        done = block.stop
    return "".join([*parts, text[done:]])


@dataclass(frozen=True, slots=True)
class _Marker:
    kind: Literal["begin", "end"]
    name: str
    """Empty where an end marker leaves it out."""
    line: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class _Block:
    name: str
    line: int
    start: int
    stop: int
    newline: str


def _inside(block: _Block, content: str) -> str:
    """The new inside of a block, in the block's line ending, with one line ending at its end."""
    # Half a surrogate pair, which JSON can hold, has no bytes in UTF-8.
    writable = _SURROGATES.sub("\ufffd", content).rstrip("\r\n")
    inside = _LINE_END.sub(lambda _: block.newline, writable) + block.newline if writable else ""
    _check_inside(block, inside)
    return inside


def _check_inside(block: _Block, inside: str) -> None:
    """Refuse a text after which the file's own markers would no longer be found."""
    begin, end = (line + block.newline for line in _marker_lines(block.name))
    try:
        is_found = [found.stop for found in _blocks(begin + inside + end, "")] == [len(begin + inside)]
    except DocumentError:
        is_found = False
    if not is_found:
        raise DocumentError(
            f"The text for block {block.name!r} holds a marker of vlm-inspect or a code fence that does not "
            "close, so that the block could not be found again.",
        )


def _blocks(text: str, name: str) -> list[_Block]:
    """Every block from first to last. Raises DocumentError at the first marker without its partner."""
    blocks: list[_Block] = []
    markers = list(_markers(text, name))
    begun: dict[str, int] = {}
    opened: _Marker | None = None
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


def _close(end: _Marker, opened: _Marker | None, text: str, name: str) -> _Block:
    if opened is None:
        called = end.name or "NAME"
        raise DocumentError(
            f"{name}, line {end.line}: this end marker has no begin marker.",
            hint=f"Add {_marker_lines(called)[0]} above it, or remove line {end.line}.",
        )
    if end.name not in ("", opened.name):
        raise DocumentError(
            f"{name}, line {end.line}: this ends block {end.name!r}, and the open block is {opened.name!r}, "
            f"begun on line {opened.line}.",
            hint=f"Write {_marker_lines(opened.name)[1]} on line {end.line}, or above it.",
        )
    newline = _LINE_END.search(text, opened.start, opened.stop)
    return _Block(opened.name, opened.line, opened.stop, end.start, newline.group() if newline else "\n")


def _check_begin(
    marker: _Marker, opened: _Marker | None, begun: Mapping[str, int], markers: list[_Marker], name: str
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
        hint=f"Move {_marker_lines(opened.name)[1]} above line {marker.line}.",
    )


def _markers(text: str, name: str) -> Iterator[_Marker]:
    """The markers outside code. Raises DocumentError at one that is not quite a marker."""
    for number, start, line in _lines_outside_code(text):
        if not _MARKER_LIKE.search(line):
            continue
        match = _MARKER.fullmatch(line.removeprefix(_BOM) if start == 0 else line)
        if match:
            stop = start + len(line)
            stop += len(ending.group()) if (ending := _LINE_END.match(text, stop)) else 0
            kind: Literal["begin", "end"] = "begin" if match["begin"] else "end"
            yield _Marker(kind, match["begun"] or match["ended"] or "", number, start, stop)
        elif _MARKER_LIKE.search(_without_inline_code(line)):
            raise _misspelt(line, number, name)


def _lines_outside_code(text: str) -> Iterator[tuple[int, int, str]]:
    """(number, start, line without its ending) of the lines that are no code block, as in CommonMark."""
    fence = ""
    for number, match in enumerate(_LINE.finditer(text), start=1):
        line = match.group().rstrip("\r\n")
        bars = _FENCE.match(line.removeprefix(_BOM) if number == 1 else line)
        if fence:
            if bars and bars["fence"].startswith(fence) and not bars["info"].strip(" \t"):
                fence = ""
        elif bars:
            fence = bars["fence"]
        elif not line.startswith(("    ", "\t", " \t", "  \t", "   \t")):
            yield number, match.start(), line


def _without_inline_code(line: str) -> str:
    """What of a line is not between two runs of as many backticks; in time that grows with the line."""
    runs = list(_BACKTICKS.finditer(line))
    closing: dict[int, int] = {}
    latest: dict[int, int] = {}
    for index in range(len(runs) - 1, -1, -1):
        width = len(runs[index].group())
        closing[index] = latest.get(width, -1)
        latest[width] = index
    kept, done, index = [], 0, 0
    while index < len(runs):
        if (close := closing[index]) > 0:
            kept.append(line[done : runs[index].start()])
            done, index = runs[close].end(), close
        index += 1
    return "".join([*kept, line[done:]])


def _marker_lines(name: str) -> tuple[str, str]:
    return f"<!-- vlm-inspect:begin {name} -->", f"<!-- vlm-inspect:end {name} -->"


def _misspelt(line: str, number: int, name: str) -> DocumentError:
    begin, end = _marker_lines("NAME")
    return DocumentError(
        f"{name}, line {number}: {line.strip()[:200]!r} looks like a marker of vlm-inspect and is none.",
        hint=f"A marker is a line of its own: {begin} or {end}. NAME is letters, digits, '_', '.' and '-'. "
        "To show one as text, put it in backticks or in a code block.",
    )


def _missing_end(begin: _Marker, where: str, name: str) -> DocumentError:
    return DocumentError(
        f"{name}, line {begin.line}: block {begin.name!r} begins here and has no end marker.",
        hint=f"Add {_marker_lines(begin.name)[1]} {where}. A code fence that does not close hides it, too.",
    )


def _no_markers(text: str, blocks: Mapping[str, str], name: str) -> DocumentError:
    lines = "\n".join(_marker_lines(next(iter(blocks), "NAME")))
    shown = next((n for n, m in enumerate(_LINE.finditer(text), 1) if _MARKER_LIKE.search(m.group())), None)
    aside = f" (What stands on line {shown} is code, an example of a marker.)" if shown else ""
    return DocumentError(
        f"{name} has no markers that say where the generated text goes.{aside}",
        hint=f"Add these two lines to {name}, where it is to stand:\n{lines}",
    )


def _unknown(block: _Block, blocks: Mapping[str, str], name: str) -> DocumentError:
    closest = difflib.get_close_matches(block.name, blocks, n=1)
    known = f"has: {', '.join(blocks)}" if blocks else "has none"
    return DocumentError(
        f"{name}, line {block.line}: unknown marker {block.name!r}; the configuration {known}.",
        hint=f"Did you mean {closest[0]!r}?" if closest else "Rename the block, or add a table of that name.",
    )


# --- writing


def append_text(path: Path, text: str) -> None:
    """Add to the end of a file that others add to as well. Raises DocumentError."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise DocumentError(f"{path}: cannot be written: {error.strerror or error}") from error


def write_atomically(path: Path, data: bytes) -> bool:
    """Give a file new contents, at once or not at all. True where that changed it.

    A symbolic link is followed, permissions are kept, and a file that holds `data` already is not
    written. Raises DocumentError, and the old file is whole, where it cannot be done.
    """
    try:
        return _write(Path(os.path.realpath(path)), data)
    except (OSError, ValueError) as error:
        raise _refusal(path, "written", error, _WRITE_FAULTS) from error


def _write(target: Path, data: bytes) -> bool:
    old = _status(target)
    if old and not stat.S_ISREG(old.st_mode):
        # A device or a pipe (/dev/stdout, /dev/null) is written to; to replace it would break it.
        target.write_bytes(data)
        return True
    if old and _holds(target, data, old.st_size):
        return False
    if old and not os.access(target, os.W_OK):
        # To replace a file takes the folder's permission alone, but who protects a file means it.
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(target))
    _replace(target, data, old)
    return True


def _status(target: Path) -> os.stat_result | None:
    try:
        return target.stat()
    except FileNotFoundError:
        return None


def _holds(target: Path, data: bytes, size: int) -> bool:
    try:
        return size == len(data) and target.read_bytes() == data
    except PermissionError:
        return False


def _replace(target: Path, data: bytes, old: os.stat_result | None) -> None:
    # Short and without the target's name, which may already be as long as a name can be.
    temporary = target.parent / f".vlm-inspect-{os.urandom(8).hex()}.tmp"
    try:
        with temporary.open("xb") as file:
            if old:
                _copy_owner_and_mode(target, temporary, old)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:  # Ctrl-C leaves no temporary file behind either
        with suppress(OSError):
            temporary.unlink()
        raise
    _flush_folder(target.parent)


def _copy_owner_and_mode(target: Path, temporary: Path, old: os.stat_result) -> None:
    """Before anything is written, so that a private file's text is never in a public one."""
    if hasattr(os, "chown"):
        with suppress(OSError):  # only root may give files away
            os.chown(temporary, old.st_uid, old.st_gid)
    shutil.copymode(target, temporary)


def _flush_folder(folder: Path) -> None:
    """Make the new name survive a power cut, where the system can; the file itself is already safe."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _refusal(path: Path, done: str, error: Exception, faults: Mapping[int, str]) -> DocumentError:
    number = error.errno if isinstance(error, OSError) else None
    reason = faults.get(number or 0) or getattr(error, "strerror", None) or str(error)
    aside = " What was there before is unchanged." if done == "written" else ""
    return DocumentError(f"{str(path)!r} could not be {done}: {reason}.{aside}", hint=_hint(path, number))


def _hint(path: Path, number: int | None) -> str:
    """The next thing to do, where one is likely to help."""
    if number in (errno.EACCES, errno.EPERM):
        return f"See who owns it: ls -ld {path.parent} {path}"
    if number in (errno.ENOSPC, errno.EDQUOT):
        return "Free some space, then run the same command again."
    if number == errno.ENOENT:
        return f"See what is there: ls {path.parent}"
    return ""
