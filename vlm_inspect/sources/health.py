"""Whether the Hub, its cache and the account are as lookups need them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile

from vlm_inspect import installed
from vlm_inspect.diagnosis import Finding
from vlm_inspect.errors import TokenError, VlmInspectError
from vlm_inspect.ref import ModelRef
from vlm_inspect.sources import endpoint
from vlm_inspect.sources.deadline import OutOfTimeError, within
from vlm_inspect.sources.hub import is_offline
from vlm_inspect.sources.hub_errors import Asked, as_source_error
from vlm_inspect.sources.hub_names import hub_error
from vlm_inspect.sources.listing import model_info
from vlm_inspect.sources.options import InspectOptions
from vlm_inspect.sources.proxies import proxies
from vlm_inspect.sources.quiet import keep_quiet
from vlm_inspect.sources.token import token_to_send
from vlm_inspect.sources.unusable import unusable

_PATIENCE = 10.0
_ANOTHER_CACHE = "Name another folder for it: --cache-dir DIR, or HF_HUB_CACHE"
_NOBODY = "vlm-inspect/doctor"
# far more than a config.json and its headers, and little enough to be written at once
_ROOM = 1 << 20
_WITHOUT = "--offline asks only the cache and the catalogue."


def look(options: InspectOptions) -> Iterator[Finding]:
    """huggingface_hub, its cache, the token (whether there is one, never what it is), the Hub itself."""
    try:
        from huggingface_hub import constants, file_download  # noqa: F401
    except installed.IMPORT_FAULTS as error:
        told = installed.unusable("huggingface_hub", error)
        yield Finding("huggingface_hub", told.message, "wrong", told.hint)
        return
    yield Finding("huggingface_hub", installed.version("huggingface_hub") or "of an unknown version")
    if not endpoint.is_address():
        yield Finding("Hub", endpoint.WRONG.rstrip("."), "wrong", endpoint.HINT)
        return
    yield _cache(options)
    yield _token(options)
    if proxies():
        yield Finding("proxy", f"set by {', '.join(proxies())}", "note")
    yield _hub(options)


def _cache(options: InspectOptions) -> Finding:
    from huggingface_hub import constants

    folder = options.cache_folder or Path(constants.HF_HUB_CACHE).expanduser()
    try:
        existing = next(place for place in (folder, *folder.parents) if place.exists())
        with TemporaryFile(dir=existing) as file:
            file.write(bytes(_ROOM))
        shut = _shut(folder)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        return Finding("Hub cache", f"{folder} cannot be written: {reason}", "wrong", _ANOTHER_CACHE)
    if shut is not None:
        said = f"{folder} holds what this user may not read, or not write beside: {shut}"
        return Finding("Hub cache", said, "wrong", _ANOTHER_CACHE)
    made = "" if folder.is_dir() else ", made when it is needed"
    return Finding("Hub cache", f"{folder}{made}")


def _shut(folder: Path) -> Path | None:
    """The first folder or file of a model in the cache that another user keeps to himself."""
    for repo in sorted(folder.glob("models--*")):
        if not os.access(repo, os.R_OK | os.W_OK | os.X_OK):
            return repo
        for file in repo.glob("snapshots/*/config.json"):
            if not os.access(file, os.R_OK):
                return file
    return None


def _token(options: InspectOptions) -> Finding:
    try:
        token = token_to_send(options.token)
    except TokenError as error:
        return Finding("token", error.message, "wrong", error.hint)
    if token is None:
        return Finding("token", "none; private and gated models cannot be looked up", "note", "hf auth login")
    where = "--token" if options.token else "HF_TOKEN" if os.environ.get("HF_TOKEN") else "hf auth login"
    return Finding("token", f"one is sent, from {where}")


def _hub(options: InspectOptions) -> Finding:
    asked = Asked(ModelRef(name=_NOBODY))
    if is_offline(options):
        return Finding("Hub", f"{asked.endpoint} is not asked: offline", "note")
    try:
        within(_PATIENCE, _knock)
    except OutOfTimeError:
        hint = f"Check the connection, the proxy and HF_ENDPOINT. {_WITHOUT}"
        return Finding("Hub", f"{asked.endpoint} does not answer within {_PATIENCE:g} s", "wrong", hint)
    except ImportError as error:
        return _wrong(unusable(error))
    except asked.failures() as error:
        return _wrong(as_source_error(error, asked))
    return Finding("Hub", f"{asked.endpoint} answers")


def _wrong(error: VlmInspectError) -> Finding:
    said = error.message.removeprefix(f"{_NOBODY}: ").rstrip(".")
    return Finding("Hub", said, "wrong", f"{error.hint} {_WITHOUT}")


def _knock() -> None:
    """Ask for a model that need not exist: any answer that is one of a Hub will do."""
    keep_quiet()
    try:
        model_info(_NOBODY, None)
    except hub_error("HfHubHTTPError") as error:
        if error.response.status_code not in {401, 403, 404}:
            raise
