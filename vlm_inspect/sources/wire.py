"""One request to the Hub, and what it answers, whichever transport huggingface_hub has.

The session is huggingface_hub's, which knows proxies, certificates and offline mode. What it would do by
itself is not left to it: redirects are followed here, where each address is looked at and the token is left
behind, and the body of a refusal, which may be endless and of any shape, is not read. What is refused is
raised as huggingface_hub raises it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from io import BytesIO
from typing import Any, TypeVar

from vlm_inspect.sources.bad_answers import BrokenOffError, UnlikeHubError
from vlm_inspect.sources.deadline import still_in_time, time_for
from vlm_inspect.sources.hub_errors import retry_after
from vlm_inspect.sources.hub_names import transport_error
from vlm_inspect.sources.redirects import MOST_REDIRECTS, keeps_token, next_address
from vlm_inspect.version import __version__

COMMIT = "X-Repo-Commit"

_SECONDS_FOR_A_READ = 20.0
_CHUNK = 2**16
_BUSY = (429, 500, 502, 503, 504)
# A Hub that is busy for longer than this is not waited for.
_LONGEST_WAIT = 5
# what httpx calls it where a connection that was there ends; requests leaves that to the error below
_DROPPED = ("ReadError", "WriteError", "CloseError", "RemoteProtocolError")
REDIRECTS = (301, 302, 303, 307, 308)
_NUMBER = re.compile(r"[0-9]{1,18}")
_OF_A_BODY = ("Content-Encoding", "Content-Length", "Transfer-Encoding")

T = TypeVar("T")


def hub_headers(token: str | None) -> dict[str, str]:
    """What is said of who asks, and that the answer is to come as it is: its length is looked at.

    Not by huggingface_hub's build_hf_headers: some versions ask the Hub, before anything else, for a list of
    variables by which to tell the Hub what program runs this one.
    """
    from huggingface_hub import __version__ as hub_version

    said = {"User-Agent": f"vlm-inspect/{__version__}; hf_hub/{hub_version}", "Accept-Encoding": "identity"}
    return {**said, "Authorization": f"Bearer {token}"} if token else said


def ask_twice(ask: Callable[[], T]) -> T:
    """What `ask` returns. A Hub that is busy, and not for long, or that broke off is asked once more.

    huggingface_hub's own retries are left off: they wait as long as a Retry-After says.
    """
    try:
        return ask()
    except (OSError, transport_error()) as error:
        wait = _short_wait(error)
        if wait is None or not time_for(wait):
            raise
    time.sleep(wait)
    return ask()


@contextmanager
def answer(
    method: str,
    url: str,
    headers: Mapping[str, str],
    *,
    look: Callable[[Any], bool] = lambda _: False,
    may_be: Callable[[Any], bool] = lambda _: False,
) -> Iterator[Any]:
    """The answer to a request, its body still to come.

    `look` sees each answer on the way, and says whether it is enough already. One that refuses is raised,
    unless it `may_be`.
    """
    sent = dict(headers)
    for _ in range(MOST_REDIRECTS + 1):
        with _exchange(method, url, sent) as response:
            enough, location = look(response), _location(response)
            if enough or location is None:
                if not enough and not may_be(response):
                    _check_status(response)
                yield response
                return
        target = next_address(url, location)
        if not keeps_token(url, target):
            sent = {name: value for name, value in sent.items() if name.lower() != "authorization"}
        url = target
    raise UnlikeHubError(f"it redirects more than {MOST_REDIRECTS} times")


def read(response: Any, count: int) -> bytes:
    """The first bytes of a body, and none after them. BrokenOffError where fewer come than were announced."""
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding.lower() not in {"", "identity"}:  # a few bytes may stand for gigabytes
        raise UnlikeHubError("it answers compressed, which it was asked not to")
    announced = stated_length(response)
    if announced is None and "Content-Length" in response.headers:
        raise UnlikeHubError("the length that it announces is none")
    content = bytearray()
    try:
        for chunk in response.iter_bytes() if _is_httpx(response) else response.iter_content(_CHUNK):
            content += chunk
            still_in_time()
            if len(content) >= count:
                break
    except transport_error() as error:
        raise BrokenOffError("the answer broke off") from error
    if announced is not None and len(content) < min(count, announced):
        raise BrokenOffError(f"{len(content):,} bytes came of {announced:,}")
    del content[count:]
    return bytes(content)


def stated_length(response: Any) -> int | None:
    """The bytes of its body, as an answer says."""
    return number(response.headers.get("Content-Length", ""))


def number(stated: str) -> int | None:
    """A number of bytes as a header states it; None where it states none."""
    return int(stated) if _NUMBER.fullmatch(stated) else None


def _exchange(method: str, url: str, headers: Mapping[str, str]) -> AbstractContextManager[Any]:
    from huggingface_hub.utils import get_session

    session: Any = get_session()
    if callable(getattr(session, "stream", None)):
        return _streamed(session, method, url, headers)
    answered: AbstractContextManager[Any] = session.request(
        method, url, headers=headers, timeout=_SECONDS_FOR_A_READ, stream=True, allow_redirects=False
    )
    return answered


@contextmanager
def _streamed(session: Any, method: str, url: str, headers: Mapping[str, str]) -> Iterator[Any]:
    asked = session.stream(method, url, headers=headers, timeout=_SECONDS_FOR_A_READ, follow_redirects=False)
    try:
        response = asked.__enter__()
    except RuntimeError as error:  # another thread of the program made huggingface_hub close its session
        raise BrokenOffError("the connection was closed by this program") from error
    try:
        yield response
    finally:
        asked.__exit__(None, None, None)


def _location(response: Any) -> str | None:
    if response.status_code not in REDIRECTS:
        return None
    location: str | None = response.headers.get("Location")
    return location


def _check_status(response: Any) -> None:
    """Raise what huggingface_hub raises of a refusal, told by its headers alone."""
    from huggingface_hub.utils import hf_raise_for_status

    if response.status_code in {200, 206}:
        return
    hf_raise_for_status(_without_body(response))
    raise UnlikeHubError(f"it answers {response.status_code}, which says nothing of the file")


def _without_body(response: Any) -> Any:
    if not _is_httpx(response):
        response.raw.close()
        response.raw = BytesIO()
        return response
    headers = response.headers.copy()
    for name in _OF_A_BODY:
        headers.pop(name, None)
    return type(response)(response.status_code, headers=headers, request=response.request)


def _is_httpx(response: Any) -> bool:
    """Whether it is an answer of httpx's, which huggingface_hub stands on since 1.0, or of requests'."""
    return hasattr(response, "iter_bytes")


def _was_dropped(error: BaseException) -> bool:
    """Whether the other side ended a connection that was there."""
    below: BaseException | None = error
    while below is not None:
        if isinstance(below, (ConnectionResetError, BrokenPipeError)) or type(below).__name__ in _DROPPED:
            return True
        below = below.__cause__ or below.__context__
    return False


def _short_wait(error: Any) -> float | None:
    """The seconds after which to ask again; None where that makes no sense."""
    if isinstance(error, BrokenOffError) or _was_dropped(error):
        return 0.0
    response = getattr(error, "response", None)
    if response is None or response.status_code not in _BUSY:
        return None
    wait = retry_after(error)
    if wait is None:
        return 1.0
    return wait if wait <= _LONGEST_WAIT else None
