"""Files on the Hub, or parts of them: no more travels, or is kept in memory, than was asked for.

The answer is read as it comes, and left where it says more than was asked for: a server need not know ranges.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from typing import Any

from msgspec import Struct, field

from vlm_inspect.sources.bad_answers import BrokenOffError, UnlikeHubError
from vlm_inspect.sources.wire import (
    COMMIT,
    REDIRECTS,
    answer,
    ask_twice,
    number,
    read,
    stated_length,
)

_CONTENT_RANGE = re.compile(r"bytes (?P<first>[0-9]{1,18})-(?P<last>[0-9]{1,18})/(?P<size>[0-9]{1,18}|\*)")
_UNSATISFIABLE = re.compile(r"bytes \*/(?P<size>[0-9]{1,18})")
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class Part(Struct, frozen=True):
    """Some bytes of a file."""

    content: bytes
    """Fewer than were asked for where the file ends there."""
    size: int | None
    """Bytes of the whole file, where the server says so."""
    etag: str = ""
    """What the Hub calls the content, where the Hub itself says it."""


class _Told(Struct):
    """What the answers on the way say: of which commit the file is, and its ETag."""

    commit: str
    etag: str = field(default="")

    def look(self, response: Any) -> bool:
        """Note it. UnlikeHubError for a file of another commit than was asked for."""
        told = response.headers.get(COMMIT)
        if told is not None:
            if told != self.commit:
                raise UnlikeHubError(f"commit {self.commit[:12]} was asked for, and another came")
            own = "" if response.status_code in REDIRECTS else response.headers.get("ETag", "")
            stated = response.headers.get("X-Linked-ETag", own)
            self.etag = stated.removeprefix("W/").strip('"')
        return False


def fetch_part(url: str, first: int, count: int, headers: Mapping[str, str], commit: str) -> Part | None:
    """`count` bytes of a file at a commit, from the `first` on; None where there is no such file.

    Raises what huggingface_hub raises. A server that is busy, and not for long, is asked once more.
    """
    return ask_twice(partial(_part, url, first, count, headers, commit))


def fetch_whole(url: str, limit: int, headers: Mapping[str, str], commit: str) -> bytes | None:
    """A small file's content, no more than one byte beyond the limit; None where it is not there.

    BrokenOffError where it is not what its ETag says: what is kept of it would stay wrong.
    """

    def whole() -> bytes | None:
        part = _part(url, 0, limit + 1, headers, commit)
        if part is None or len(part.content) > limit:
            return part.content if part is not None else None
        if part.size is not None and part.size != len(part.content):
            raise BrokenOffError(f"{len(part.content):,} bytes came of {part.size:,}")
        if not _is_called(part.etag, part.content):
            raise BrokenOffError("the content is not that of its ETag")
        return part.content

    return ask_twice(whole)


def _part(url: str, first: int, count: int, headers: Mapping[str, str], commit: str) -> Part | None:
    asked = {**headers, "Range": f"bytes={first}-{first + count - 1}"}
    told = _Told(commit)
    with answer("GET", url, asked, look=told.look, may_be=_is_about_the_file) as response:
        if response.status_code == HTTPStatus.NOT_FOUND:
            return None
        stated = response.headers.get("Content-Range", "")
        if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            match = _UNSATISFIABLE.fullmatch(stated)
            size = int(match["size"]) if match else None
            if size is not None and size > first:
                raise UnlikeHubError(f"it says that a file of {size:,} bytes has no byte {first:,}")
            return Part(b"", size, told.etag)
        if response.status_code != HTTPStatus.PARTIAL_CONTENT:
            # the whole file is on its way: take what comes before the end
            return Part(read(response, first + count)[first:], stated_length(response), told.etag)
        size = _size_of_file(stated, first, count)
        expected = count if size is None else min(count, size - first)
        content = read(response, expected)
        if size is not None and len(content) < expected:
            raise BrokenOffError(f"{len(content):,} bytes came of {expected:,}")
        return Part(content, size, told.etag)


def _is_about_the_file(response: Any) -> bool:
    """Whether a refusal says that the file is not there, or not so long."""
    if response.status_code == HTTPStatus.NOT_FOUND:
        return bool(response.headers.get("X-Error-Code") == "EntryNotFound")
    return bool(response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)


def _size_of_file(stated: str, first: int, count: int) -> int | None:
    """The size of the whole file, if the part that comes is the one that was asked for."""
    match = _CONTENT_RANGE.fullmatch(stated)
    size = number(match["size"]) if match else None
    last = first + count - 1 if size is None else min(first + count, size) - 1
    if match is None or int(match["first"]) != first or (size is not None and int(match["last"]) != last):
        raise UnlikeHubError(f"bytes {first:,} to {last:,} were asked for, and others came")
    return size


def _is_called(etag: str, content: bytes) -> bool:
    """Whether an ETag that is a hash is the content's: git's, large file storage's or a mirror's."""
    if not _HASH.fullmatch(etag):
        return True
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
    plain = hashlib.sha1(content, usedforsecurity=False)
    return etag in {blob.hexdigest(), plain.hexdigest(), hashlib.sha256(content).hexdigest()}
