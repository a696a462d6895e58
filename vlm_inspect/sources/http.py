"""HTTP requests to the Hub with limits that huggingface_hub does not set.

Requests use huggingface_hub's session, with its proxies and certificates. At most a given number of bytes of
a response is read, and nothing of an error's body. Redirects are followed here: the token is sent only to
the scheme, host and port of the first request. Every failure is an OSError of this module.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from http import HTTPStatus
from importlib import import_module
from typing import Any, TypeVar
from urllib.parse import SplitResult, quote, urljoin, urlsplit

import msgspec
from msgspec import Struct

from vlm_inspect.core.version import __version__
from vlm_inspect.sources.deadline import check_deadline, has_time

COMMIT = "X-Repo-Commit"
MOST_REDIRECTS = 8

_SECONDS_PER_READ = 20.0
_CHUNK = 2**16
_BUSY = (429, 500, 502, 503, 504)
_LONGEST_WAIT = 5
_API_LIMIT = 32 * 2**20  # the list of a hundred thousand files has ten million bytes
_REDIRECTS = (301, 302, 303, 307, 308)
_PORTS = {"http": 80, "https": 443}
# httpx's errors for a connection that the server closed
_CLOSED = ("ReadError", "WriteError", "CloseError", "RemoteProtocolError")
_NUMBER = re.compile(r"\d{1,18}", re.ASCII)
_CONTENT_RANGE = re.compile(r"bytes (?:(?P<first>\d{1,18})-\d{1,18}|\*)/(?:(?P<size>\d{1,18})|\*)", re.ASCII)
# `"api";r=0;t=55`: no request is left for 55 seconds
_RATE_LIMIT = re.compile(r";\s*r\s*=\s*0\s*;\s*t\s*=\s*(\d{1,12})", re.ASCII)

T = TypeVar("T")


class HubConnectionError(OSError):
    """No connection, or one that ended before a response."""

    closed_by_server = False


class TruncatedResponseError(OSError):
    """A response that ended early."""


class UnexpectedResponseError(OSError):
    """A response that no Hub sends."""


class StatusError(OSError):
    """A response with the status of an error."""

    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.headers = headers


class Response(Struct, frozen=True):
    """A response, with as much of its body as was read."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class Part(Struct, frozen=True):
    """A range of a file's bytes."""

    content: bytes  # fewer bytes than requested where the file ends
    size: int | None  # bytes of the whole file, where the server states them


class RepoFile(Struct, frozen=True):
    """A file in the API's description of a repo."""

    rfilename: str


class RepoInfo(Struct, frozen=True):
    """The API's description of a repo: the fields that are used here."""

    sha: str | None = None
    siblings: list[RepoFile] | None = None


def head(url: str, token: str | None) -> Response:
    """Send a HEAD request; return the first response that names a commit, even a redirect, else the last."""
    return retry_once(partial(_send, "HEAD", url, _headers(token), {200: 0}))


def get_range(url: str, first: int, count: int, token: str | None, commit: str) -> Part | None:
    """Read `count` bytes of a file at a commit, starting at `first`; None if there is no such file."""
    return retry_once(partial(_range, url, first, count, token, commit))


def repo_info(path: str, token: str | None) -> RepoInfo:
    """Request the API's description of a repo, or of one of its revisions."""
    from huggingface_hub import constants

    url = f"{constants.ENDPOINT}/api/models/{quote(path)}"
    response = retry_once(partial(_send, "GET", url, _headers(token), {200: _API_LIMIT}))
    try:
        return msgspec.json.decode(response.content, type=RepoInfo)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise UnexpectedResponseError("it is not the JSON that describes a repo") from None


def retry_once(send: Callable[[], T]) -> T:
    """Call `send`, and call it again if the server closed the connection or is busy for a few seconds.

    huggingface_hub's own retries wait for as long as a Retry-After header says.
    """
    try:
        return send()
    except OSError as error:
        wait = _retry_delay(error)
        if wait is None or not has_time(wait):
            raise
    time.sleep(wait)
    return send()


def retry_after(headers: Mapping[str, str]) -> int | None:
    """The seconds to wait that a busy server states in its Retry-After or RateLimit header."""
    limit = _RATE_LIMIT.search(headers.get("RateLimit", ""))
    seconds = _number(headers.get("Retry-After", "").strip())
    return int(limit[1]) if seconds is None and limit else seconds


def file_size(response: Response) -> int | None:
    """The bytes of a file by the response to a HEAD; the Content-Length of a redirect is its own."""
    header = "Content-Length" if response.status == HTTPStatus.OK else ""
    return _number(response.headers.get("X-Linked-Size") or response.headers.get(header))


def transport_errors() -> tuple[type[Exception], ...]:
    """The errors of huggingface_hub's HTTP library: requests before version 1.0, then httpx."""
    from huggingface_hub.utils import HfHubHTTPError

    libraries = (base.__module__.partition(".")[0] for base in HfHubHTTPError.__mro__)
    library: Any = import_module(next(name for name in libraries if name != "huggingface_hub"))
    if hasattr(library, "RequestException"):
        return (library.RequestException,)
    return library.HTTPError, library.InvalidURL


def _headers(token: str | None) -> dict[str, str]:
    """Not from huggingface_hub's build_hf_headers: some versions send a request of their own first."""
    from huggingface_hub import __version__ as hub_version

    agent = f"vlm-inspect/{__version__}; hf_hub/{hub_version}"
    authorization = {"Authorization": f"Bearer {token}"} if token else {}
    return {"User-Agent": agent, "Accept-Encoding": "identity", **authorization}


def _range(url: str, first: int, count: int, token: str | None, commit: str) -> Part | None:
    headers = {**_headers(token), "Range": f"bytes={first}-{first + count - 1}"}
    try:
        response = _send("GET", url, headers, {206: count, 200: first + count}, commit)
    except StatusError as error:
        if error.status == HTTPStatus.NOT_FOUND and error.headers.get("X-Error-Code") == "EntryNotFound":
            return None
        size = _content_range(error.headers)[1]
        if error.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and size is not None and size <= first:
            return Part(b"", size)
        raise
    if response.status == HTTPStatus.OK:  # without support for ranges
        return Part(response.content[first:], _number(response.headers.get("Content-Length")))
    start, size = _content_range(response.headers)
    if start != first:
        raise UnexpectedResponseError(f"its range does not start at byte {first:,}")
    expected = count if size is None else min(count, size - first)
    if size is not None and len(response.content) != expected:
        raise TruncatedResponseError(f"received {len(response.content):,} of {expected:,} bytes")
    return Part(response.content, size)


def _send(
    method: str, url: str, headers: Mapping[str, str], limits: Mapping[int, int], commit: str | None = None
) -> Response:
    """Send a request and follow its redirects. `limits`: how many bytes to read, by status."""
    for _ in range(MOST_REDIRECTS + 1):
        check_deadline()
        with _stream(method, url, headers) as (status, fields, chunks):
            if commit is not None and fields.get(COMMIT, commit) != commit:
                raise UnexpectedResponseError(f"commit {commit[:12]} was requested, and it is of another")
            location = fields.get("Location") if status in _REDIRECTS else None
            if location is None and status not in limits:
                raise StatusError(status, fields)
            if location is None or (method == "HEAD" and COMMIT in fields):
                return Response(status, fields, _read_body(fields, chunks, limits.get(status, 0)))
        url, headers = _redirected(url, location, headers)
    raise UnexpectedResponseError(f"it redirects more than {MOST_REDIRECTS} times")


@contextmanager
def _stream(
    method: str, url: str, headers: Mapping[str, str]
) -> Iterator[tuple[int, Mapping[str, str], Iterator[bytes]]]:
    """Status, headers and body of one response, by httpx or requests."""
    from huggingface_hub.utils import get_session

    errors = transport_errors()
    # OSError: unreadable certificates; ValueError: a proxy's URL; RuntimeError: a closed session
    failures: tuple[type[Exception], ...] = (OSError, ValueError, RuntimeError, *errors)
    options: dict[str, Any] = {"headers": headers, "timeout": _SECONDS_PER_READ}
    with ExitStack() as stack:
        try:
            session: Any = get_session()
            if is_httpx := callable(getattr(session, "stream", None)):  # in requests it is a flag
                opened = session.stream(method, url, follow_redirects=False, **options)
            else:
                opened = session.request(method, url, allow_redirects=False, stream=True, **options)
            response = stack.enter_context(opened)
        except failures as error:
            raise _connection_error(error) from error
        try:
            chunks = response.iter_raw() if is_httpx else response.iter_content(_CHUNK)
            yield response.status_code, response.headers, chunks
        except errors as error:
            raise TruncatedResponseError("the connection was closed before the end") from error


def _read_body(headers: Mapping[str, str], chunks: Iterator[bytes], count: int) -> bytes:
    if not count:
        return b""
    if headers.get("Content-Encoding", "identity").lower() not in {"", "identity"}:
        raise UnexpectedResponseError("its body is compressed, which the request did not allow")
    content = bytearray()
    for chunk in chunks:
        content += chunk
        check_deadline()
        if len(content) >= count:
            break
    length = _number(headers.get("Content-Length"))
    if length is not None and len(content) < min(count, length):
        raise TruncatedResponseError(f"received {len(content):,} of {length:,} bytes")
    del content[count:]
    return bytes(content)


def _redirected(url: str, location: str, headers: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
    """The next URL and its headers: the token stays only if the origin is the same."""
    try:
        target = urljoin(url, location.strip())
        before, after = urlsplit(url), urlsplit(target)
        is_same_origin = _origin(before) == _origin(after)
    except ValueError as error:
        raise UnexpectedResponseError(f"it redirects to an invalid URL ({error})") from None
    if after.scheme not in _PORTS or (before.scheme, after.scheme) == ("https", "http"):
        raise UnexpectedResponseError(f"it redirects from {before.scheme} to {after.scheme[:20]}")
    return target, {name: headers[name] for name in headers if is_same_origin or name != "Authorization"}


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    """Scheme, host and port. Raises ValueError for a malformed port."""
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)


def _content_range(headers: Mapping[str, str]) -> tuple[int | None, int | None]:
    match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    return (None, None) if match is None else (_number(match["first"]), _number(match["size"]))


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and _NUMBER.fullmatch(text) else None


def _connection_error(error: BaseException) -> HubConnectionError:
    """The message is that of the innermost cause: the HTTP library wraps it several times."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(cause)
    found = HubConnectionError(getattr(chain[-1], "strerror", None) or str(chain[-1]) or str(error))
    found.closed_by_server = any(
        isinstance(each, (ConnectionResetError, BrokenPipeError)) or type(each).__name__ in _CLOSED for each in chain
    )
    return found


def _retry_delay(error: OSError) -> float | None:
    """The seconds before the second attempt; None where there is none."""
    if isinstance(error, TruncatedResponseError) or getattr(error, "closed_by_server", False):
        return 0.0
    if not isinstance(error, StatusError) or error.status not in _BUSY:
        return None
    wait = retry_after(error.headers)
    return 1.0 if wait is None else wait if wait <= _LONGEST_WAIT else None
