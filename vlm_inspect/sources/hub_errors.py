"""What huggingface_hub raises -> what vlm-inspect says: what happened, and what to type next."""

from __future__ import annotations

import math
import re
import ssl
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from vlm_inspect.errors import (
    ConfigMissingError,
    GatedModelError,
    HubUnavailableError,
    ModelNotFoundError,
    RevisionNotFoundError,
    SourceError,
    TokenError,
)
from vlm_inspect.ref import ModelRef
from vlm_inspect.sources.bad_answers import UnlikeHubError
from vlm_inspect.sources.hub_names import address_error, hub_error, transport_error
from vlm_inspect.sources.way_to_hub import certificates_not_there, way_out

# huggingface_hub's HfHubHTTPError, named without importing it
HttpError: TypeAlias = Any

_LONGEST_WORDS = 200
_LOGIN_IN_ADDRESS = re.compile(r"//[^/@\s]*@")
_A_DAY = 86_400
_SECONDS = re.compile(r"[0-9]{1,12}")
# `"api";r=0;t=55`: none of what the account may ask is left for 55 seconds
_USED_UP = re.compile(r";\s*r\s*=\s*0\s*;\s*t\s*=\s*(?P<seconds>[0-9]{1,12})")
_LOGIN = "hf auth login, or HF_TOKEN, or --token"
_RATE = f"Try again then. With a token more requests are allowed: {_LOGIN}"


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked of the Hub: all that a message needs beside the error itself."""

    ref: ModelRef
    token: str | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The repo."""
        return self.ref.name

    @property
    def endpoint(self) -> str:
        """The Hub's address, without the password that a mirror's may hold."""
        from huggingface_hub import constants

        parts = urlsplit(str(constants.ENDPOINT))
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()

    def words(self, text: object) -> str:
        """The first line of what someone else wrote: not long, printable, without token or login."""
        said = str(text)
        if self.token:
            said = said.replace(self.token, "<token>")
        said = _LOGIN_IN_ADDRESS.sub("//", said)
        line = next((line for line in said.splitlines() if line.strip()), "")
        return "".join(filter(str.isprintable, line.strip()[:_LONGEST_WORDS])).rstrip(".")

    def as_cause(self, error: Exception) -> Exception | None:
        """The error, to be shown as the cause of another; None where a server repeated the token in it."""
        shown = "".join(traceback.format_exception(error))
        return None if self.token and self.token in shown else error

    @staticmethod
    def failures() -> tuple[type[Exception], ...]:
        """What huggingface_hub raises where it has no file to give.

        OSError is what it raises for a bad download and an unwritable cache, ValueError for a repo id that
        breaks its rules.
        """
        return transport_error(), address_error(), OSError, ValueError


def as_source_error(error: BaseException, asked: Asked) -> SourceError:
    """The error of vlm-inspect that says the same. The first kind that fits answers."""
    kinds: tuple[tuple[type[BaseException], Callable[..., SourceError]], ...] = (
        (hub_error("GatedRepoError"), _gated),
        (hub_error("RepositoryNotFoundError"), _not_found),
        (hub_error("RevisionNotFoundError"), _no_revision),
        # before the file that the repo lacks: in some versions the file that the cache lacks is one of those
        (hub_error("LocalEntryNotFoundError"), _by_cause),
        (hub_error("EntryNotFoundError"), _no_config),
        (hub_error("DisabledRepoError"), _disabled),
        (hub_error("HfHubHTTPError"), _by_status),
        (hub_error("FileMetadataError"), _not_a_hub),
        (hub_error("HFValidationError"), _not_found),
        (UnlikeHubError, _unlike_hub),
        (transport_error(), _of_the_transport),
        (OSError, _disk_or_download),
    )
    return next((say for kind, say in kinds if isinstance(error, kind)), _unreachable)(error, asked)


def retry_after(error: HttpError) -> int | None:
    """The seconds that a busy Hub says to wait: as a number, as a date, or by its RateLimit."""
    headers = error.response.headers
    stated = headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(stated):
        return int(stated)
    limit = _USED_UP.search(headers.get("RateLimit", ""))
    return _seconds_until(stated) if stated or limit is None else int(limit["seconds"])


def _seconds_until(date: str) -> int | None:
    try:
        until = parsedate_to_datetime(date)
        return max(math.ceil(until.timestamp() - time.time()), 0)
    except (ValueError, TypeError, OverflowError, IndexError):  # which depends on the version of Python
        return None


def _gated(_: HttpError, asked: Asked) -> SourceError:
    return GatedModelError(
        f"{asked.name} is gated: its licence must be accepted by the account that asks.",
        hint=f"Accept it at {asked.endpoint}/{asked.name}, then log in with that account: {_LOGIN}",
        model=asked.name,
    )


def _not_found(_: Exception, asked: Asked) -> SourceError:
    who = "the account of the token that was sent" if asked.token else "anyone without a token"
    return ModelNotFoundError(
        f"The Hub has no model {asked.name}, or none for {who}.",
        hint=f"Check the spelling. A private model needs a token that may read it: {_LOGIN}",
        model=asked.name,
    )


def _no_revision(_: HttpError, asked: Asked) -> SourceError:
    return RevisionNotFoundError(
        f"{asked.name} has no branch, tag or commit {asked.ref.revision or 'main'!r}.",
        hint=f"See {asked.endpoint}/{asked.name}/commits, or name none for the newest: {asked.name}",
        model=asked.name,
    )


def _no_config(_: HttpError, asked: Asked) -> SourceError:
    return ConfigMissingError(
        f"{asked.name} has no config.json.",
        hint="An adapter or a GGUF file has none: name the model that it was made from.",
        model=asked.name,
    )


def _disabled(_: HttpError, asked: Asked) -> SourceError:
    return ModelNotFoundError(
        f"{asked.name} has been disabled on the Hub.",
        hint=f"See {asked.endpoint}/{asked.name} for why.",
        model=asked.name,
    )


def _by_status(error: HttpError, asked: Asked) -> SourceError:
    """Answers that huggingface_hub has no class for."""
    status = error.response.status_code
    if status == HTTPStatus.UNAUTHORIZED:
        return TokenError(
            f"The Hub does not accept the token that was sent for {asked.name}.",
            hint=f"Log in again, or send none: {_LOGIN}",
            model=asked.name,
        )
    if status == HTTPStatus.FORBIDDEN:
        said = asked.words(getattr(error, "server_message", None) or "access is forbidden")
        return GatedModelError(
            f"The Hub does not give {asked.name} to this account: {said}.",
            hint=f"Send a token that may read it: {_LOGIN}",
            model=asked.name,
        )
    if status == HTTPStatus.NOT_FOUND:
        return _not_found(error, asked)
    hint = _RATE if status == HTTPStatus.TOO_MANY_REQUESTS else ""
    return _unavailable(f"{asked.endpoint} answered {status}{_meaning(error)}.", asked, hint)


def _meaning(error: HttpError) -> str:
    """What a status means for who waits."""
    if error.response.status_code != HTTPStatus.TOO_MANY_REQUESTS:
        return ""
    wait = retry_after(error)
    if wait is None:
        return ", too many requests"
    return ", too many requests: it says to wait " + (
        f"{wait} s" if wait <= _A_DAY else "for more than a day"
    )


def _by_cause(error: BaseException, asked: Asked) -> SourceError:
    """huggingface_hub says only that the cache has no copy; why the Hub gave none is its cause."""
    cause = error.__cause__
    return as_source_error(cause, asked) if cause else _unreachable(error, asked)


def _of_the_transport(error: Any, asked: Asked) -> SourceError:
    """No answer; or one that huggingface_hub let through (0.31 to 0.35: of a Hub that stays busy)."""
    has_answer = getattr(error, "response", None) is not None
    return _by_status(error, asked) if has_answer else _unreachable(error, asked)


def _not_a_hub(_: Exception, asked: Asked) -> SourceError:
    return _unavailable(f"{asked.endpoint} answered, but not as a Hub does: it named no commit.", asked)


def _disk_or_download(error: OSError, asked: Asked) -> SourceError:
    """An OSError with a number is the disk's; one without is huggingface_hub's, of a download gone wrong."""
    if isinstance(error, ssl.SSLError):
        return _unreachable(error, asked)
    if error.filename is None and (name := certificates_not_there()):
        return _unavailable(f"{name} names no certificates that can be read: {error.strerror}.", asked)
    if error.errno is None:
        return _unavailable(f"{asked.name}: the download failed: {asked.words(error)}.", asked)
    return SourceError(
        f"{asked.name}: the Hub's cache cannot be used: {error.strerror}{_where(error)}.",
        hint="Name another folder for it: --cache-dir DIR, or HF_HUB_CACHE",
        model=asked.name,
    )


def _where(error: OSError) -> str:
    return f" ({error.filename})" if error.filename else ""


def _unreachable(error: BaseException, asked: Asked) -> SourceError:
    said = asked.words(_reason(error)) or type(error).__name__
    return _unavailable(f"{asked.endpoint} cannot be reached: {said}.", asked)


def _reason(error: BaseException) -> object:
    """What there is to say: of the errors of requests, wrapped three deep, only the innermost says why."""
    if not isinstance(error, OSError):
        return error
    root: BaseException = error
    while (inner := root.__cause__ or root.__context__) is not None:
        root = inner
    return getattr(root, "strerror", None) or root


def _unlike_hub(error: OSError, asked: Asked) -> SourceError:
    return _unavailable(f"{asked.endpoint} does not answer as a Hub does: {asked.words(error)}.", asked)


def _unavailable(message: str, asked: Asked, hint: str = "") -> SourceError:
    hint = hint or way_out(message.replace(asked.endpoint, ""))
    return HubUnavailableError(message, hint=hint, model=asked.name)
