"""Errors of Hub requests: what happened, to which model, and what to do next."""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar

from vlm_inspect.core import errors, packages
from vlm_inspect.core.model_ref import ModelRef
from vlm_inspect.core.options import InspectOptions
from vlm_inspect.sources import http
from vlm_inspect.sources.deadline import DeadlineExceededError, run_with_timeout

OTHER_CACHE = "Use another folder: --cache-dir DIR, or HF_HUB_CACHE"
"""What to type if the cache cannot be used."""
_LONGEST_TEXT = 200
_CREDENTIALS = re.compile(r"//[^/@\s]*@")
_SOCKS_PACKAGE = re.compile(r"'(\w+)' package")
_DAY_SECONDS = 86_400
_LOGIN = "hf auth login, or HF_TOKEN, or --token"
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class HubRequest:
    """The model and the token of the requests that one model takes."""

    ref: ModelRef
    token: str | None = field(default=None, repr=False)

    @property
    def endpoint(self) -> str:
        """The Hub's URL, without the password that a mirror's URL may contain."""
        from huggingface_hub import constants

        return _CREDENTIALS.sub("//", str(constants.ENDPOINT))

    def run(self, options: InspectOptions, work: Callable[[], T]) -> T:
        """Return the result of `work`, in one model's time. Raises SourceError, BrokenEnvironmentError."""
        try:
            return run_with_timeout(options.timeout, work)
        except DeadlineExceededError:
            raise errors.HubUnavailableError(
                f"{self.endpoint} did not finish within {options.timeout:g} s.",
                hint="Try again later; --offline uses cached files and built-in models only.",
                model=self.ref.name,
            ) from None
        except ImportError as error:
            raise import_error(error) from error
        except OSError as error:
            # a server may repeat the token, and a traceback would show it
            shows_token = self.token and self.token in "".join(traceback.format_exception(error))
            raise self.source_error(error) from (None if shows_token else error)

    def source_error(self, error: OSError) -> errors.SourceError:
        """Translate an error of `http` or of the file system."""
        if isinstance(error, http.StatusError):
            return _status_error(error, self)
        if isinstance(error, http.UnexpectedResponseError):
            return self._unavailable(f"{self.endpoint} sent an unexpected response: {self.sanitized(error)}.")
        if isinstance(error, http.TruncatedResponseError):
            return self._unavailable(f"{self.ref.name}: the download failed: {self.sanitized(error)}.")
        if isinstance(error, http.HubConnectionError):
            for name in _CERTIFICATES:  # OpenSSL's error does not name the missing file
                if (path := os.environ.get(name)) and not Path(path).exists():
                    return self._unavailable(f"{name} does not name a readable file.")
            return self._unavailable(f"{self.endpoint} cannot be reached: {self.sanitized(error)}.")
        place = f" ({error.filename})" if error.filename else ""
        return errors.SourceError(
            f"{self.ref.name}: the Hub's cache cannot be used: {error.strerror or error}{place}.",
            hint=OTHER_CACHE,
            model=self.ref.name,
        )

    def sanitized(self, text: object) -> str:
        """The first line of untrusted text: short, printable, without token or password."""
        text = str(text).replace(self.token, "<token>") if self.token else str(text)
        line = next((line for line in _CREDENTIALS.sub("//", text).splitlines() if line.strip()), "")
        return "".join(filter(str.isprintable, line.strip()[:_LONGEST_TEXT])).rstrip(".")

    def _unavailable(self, message: str) -> errors.HubUnavailableError:
        hint = connection_hint(message.replace(self.endpoint, ""))
        return errors.HubUnavailableError(message, hint=hint, model=self.ref.name)


def import_error(error: ImportError) -> errors.BrokenEnvironmentError:
    """The error if huggingface_hub cannot be imported, or lacks the package for a SOCKS proxy."""
    package = _SOCKS_PACKAGE.search(str(error))
    if "SOCKS" in str(error) and package is not None:
        return errors.BrokenEnvironmentError(
            f"a SOCKS proxy is set ({', '.join(proxy_variables())}), and its package is not installed.",
            hint=f"pip install {package[1]}, or use an HTTP proxy, or unset the variable.",
        )
    return packages.import_failure("huggingface_hub", error)


def proxy_variables() -> tuple[str, ...]:
    """The names of the variables that set a proxy. Their values may contain a password."""
    return tuple(name for lower in _PROXIES for name in (lower, lower.upper()) if os.environ.get(name))


def connection_hint(message: str) -> str:
    """What to check, by the message of the HTTP library."""
    text = message.lower()
    proxies = [name for name in proxy_variables() if name.lower() != "no_proxy"]
    if "certificate" in text and ("expired" in text or "not yet valid" in text):
        return "Check the clock of this machine: certificates have a start and an end date."
    if "certificate" in text:
        uses_requests = http.transport_errors()[0].__module__.startswith("requests")
        variable = "REQUESTS_CA_BUNDLE" if uses_requests else "SSL_CERT_FILE"
        return f"Set {variable}=/path/to/ca.pem if a proxy or a mirror has a self-signed certificate."
    if "407" in text or "proxy authentication" in text:
        variable = next(iter(proxies), "HTTPS_PROXY")
        return f"Set {variable}=http://NAME:PASSWORD@HOST:PORT: the proxy requires authentication."
    if "[ssl" in text:
        return "Check whether the URL in HF_ENDPOINT, or that of a proxy, should begin with http or https."
    if proxies:
        names = " and ".join(proxies)
        return f"Check the connection and the proxy of {names}. NO_PROXY lists hosts that need no proxy."
    return "Check the connection (and HF_ENDPOINT, if set) and try again. Downloaded files are cached."


def _status_error(error: http.StatusError, request: HubRequest) -> errors.SourceError:
    name, page = request.ref.name, f"{request.endpoint}/{request.ref.name}"
    code, reason = (error.headers.get(each, "") for each in ("X-Error-Code", "X-Error-Message"))
    status, unauthorized = error.status, error.status == HTTPStatus.UNAUTHORIZED
    kind: type[errors.SourceError]
    if code == "GatedRepo":
        kind = errors.GatedModelError
        message = f"{name} is gated: this account has not accepted its license."
        hint = f"Accept it at {page}, then log in with that account: {_LOGIN}"
    elif code == "RevisionNotFound":
        kind = errors.RevisionNotFoundError
        message = f"{name} has no branch, tag or commit {request.ref.revision or 'main'!r}."
        hint = f"See {page}/commits, or omit the revision for the newest commit."
    elif code == "EntryNotFound":
        kind, message = errors.ConfigMissingError, f"{name} has no config.json."
        hint = "An adapter or a GGUF file has none: use the base model instead."
    elif reason == "Access to this resource is disabled.":
        kind, message = errors.ModelNotFoundError, f"{name} has been disabled on the Hub."
        hint = f"See {page} for the reason."
    elif unauthorized and reason.startswith("Invalid credentials") and request.token:
        kind, message = errors.TokenError, f"The Hub rejected the token that was sent for {name}."
        hint = f"Log in again, or use no token: {_LOGIN}"
    elif code == "RepoNotFound" or unauthorized or status == HTTPStatus.NOT_FOUND:
        account = "the account of this token" if request.token else "anyone without a token"
        kind, message = errors.ModelNotFoundError, f"The Hub has no model {name}, or none for {account}."
        hint = f"Check the spelling. A private model needs a token with read access: {_LOGIN}"
    elif status == HTTPStatus.FORBIDDEN:
        kind = errors.GatedModelError
        message = f"This account has no access to {name}: {request.sanitized(reason or 'no access')}."
        hint = f"Use a token with read access: {_LOGIN}"
    elif status == HTTPStatus.TOO_MANY_REQUESTS:
        seconds = http.retry_after(error.headers)
        duration = f"{seconds} s" if (seconds or 0) <= _DAY_SECONDS else "for more than a day"
        wait = "" if seconds is None else f": wait {duration}"
        kind, message = (
            errors.HubUnavailableError,
            f"{request.endpoint} answered 429, too many requests{wait}.",
        )
        later = "later" if seconds else "in a few minutes"
        allowed = f" More requests are allowed with a token: {_LOGIN}"
        hint = f"Try again {later}.{'' if request.token else allowed}"
    else:
        kind, message = errors.HubUnavailableError, f"{request.endpoint} answered {status}."
        hint = connection_hint("")
    return kind(message, hint=hint, model=name)
