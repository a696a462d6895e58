"""Parts of a file on the Hub: no more of it travels, or is kept in memory, than was asked for.

The requests go through huggingface_hub's session, which knows proxies, certificates and offline mode. The
answer is read as it comes, and left where it says more than was asked for: a server need not know ranges.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from vlm_inspect.sources.hub_errors import retry_after

_CHUNK = 2**16
_SECONDS_FOR_A_READ = 20.0
_BUSY = (429, 500, 502, 503, 504)
_LONGEST_WAIT = 5
_CONTENT_RANGE = re.compile(r"bytes (?P<first>\d+)-\d+/(?P<size>\d+|\*)")
_UNSATISFIABLE = re.compile(r"bytes \*/(?P<size>\d+)")


@dataclass(frozen=True, slots=True)
class Part:
    """Some bytes of a file."""

    content: bytes
    """Fewer than were asked for where the file ends there."""
    size: int | None
    """Bytes of the whole file, where the server says so."""


def fetch_part(url: str, first: int, count: int, headers: Mapping[str, str]) -> Part | None:
    """`count` bytes of a file from the `first` on; None where there is no such file.

    Raises what huggingface_hub raises. A server that is busy, and not for long, is asked once more.
    """
    try:
        return _part(url, first, count, headers)
    except OSError as error:  # as every error of huggingface_hub's transports with an answer is
        wait = _short_wait(error)
        if wait is None:
            raise
    time.sleep(wait)
    return _part(url, first, count, headers)


def _part(url: str, first: int, count: int, headers: Mapping[str, str]) -> Part | None:
    from huggingface_hub.utils import hf_raise_for_status

    asked = {**headers, "Range": f"bytes={first}-{first + count - 1}", "Accept-Encoding": "identity"}
    with _answer(url, asked) as response:
        status = response.status_code
        if status == HTTPStatus.NOT_FOUND and response.headers.get("X-Error-Code") == "EntryNotFound":
            return None
        if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            stated = _UNSATISFIABLE.fullmatch(response.headers.get("Content-Range", ""))
            return Part(b"", int(stated["size"]) if stated else None)
        hf_raise_for_status(response)
        if (
            status != HTTPStatus.PARTIAL_CONTENT
        ):  # the whole file is on its way: take what comes before the end
            return Part(_read(response, first + count)[first:], _stated_length(response))
        stated = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if stated is None or int(stated["first"]) != first:
            raise OSError(f"bytes {first}- were asked for, and others came")
        return Part(_read(response, count), int(stated["size"]) if stated["size"].isdecimal() else None)


@contextmanager
def _answer(url: str, headers: Mapping[str, str]) -> Iterator[Any]:
    """The answer to a GET, its body still to come, whichever transport huggingface_hub has."""
    from huggingface_hub.utils import get_session

    session: Any = get_session()
    if callable(getattr(session, "stream", None)):
        with session.stream(
            "GET", url, headers=headers, timeout=_SECONDS_FOR_A_READ, follow_redirects=True
        ) as response:
            yield response
    else:
        with session.get(url, headers=headers, timeout=_SECONDS_FOR_A_READ, stream=True) as response:
            yield response


def _read(response: Any, count: int) -> bytes:
    """The first bytes of a body, and none after them."""
    chunks = response.iter_bytes if hasattr(response, "iter_bytes") else response.iter_content
    content = bytearray()
    for chunk in chunks(_CHUNK):
        content += chunk
        if len(content) >= count:
            break
    return bytes(content[:count])


def _stated_length(response: Any) -> int | None:
    stated = response.headers.get("Content-Length", "")
    return int(stated) if stated.isdecimal() else None


def _short_wait(error: Any) -> float | None:
    """The seconds after which to ask again; None where that makes no sense."""
    response = getattr(error, "response", None)
    if response is None or response.status_code not in _BUSY:
        return None
    wait = retry_after(error)
    if wait is None:
        return 1.0
    return wait if wait <= _LONGEST_WAIT else None
