"""Whether the Hub, its cache and the account are as lookups need them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryFile

from vlm_inspect.diagnosis import Finding
from vlm_inspect.errors import TokenError
from vlm_inspect.ref import ModelRef
from vlm_inspect.sources import endpoint
from vlm_inspect.sources.deadline import OutOfTimeError, within
from vlm_inspect.sources.hub import is_offline
from vlm_inspect.sources.hub_errors import Asked
from vlm_inspect.sources.hub_names import hub_error
from vlm_inspect.sources.listing import model_info
from vlm_inspect.sources.options import SourceOptions
from vlm_inspect.sources.quiet import quietly
from vlm_inspect.sources.token import token_to_send

_PATIENCE = 10.0
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


def look(options: SourceOptions) -> Iterator[Finding]:
    """huggingface_hub, its cache, the token (whether there is one, never what it is), the Hub itself."""
    yield Finding("huggingface_hub", metadata.version("huggingface_hub"))
    if not endpoint.is_address():
        yield Finding("Hub", endpoint.WRONG.rstrip("."), "wrong", endpoint.HINT)
        return
    yield _cache(options)
    yield _token(options)
    proxies = [name for name in _PROXIES if os.environ.get(name) or os.environ.get(name.upper())]
    if proxies:
        yield Finding("proxy", f"set by {', '.join(proxies)}", "note")
    yield _hub(options)


def _cache(options: SourceOptions) -> Finding:
    from huggingface_hub import constants

    folder = (options.cache_dir or Path(constants.HF_HUB_CACHE)).expanduser()
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    try:
        with TemporaryFile(dir=existing):
            pass
    except OSError as error:
        reason = error.strerror or type(error).__name__
        hint = "Name another folder for it: --cache-dir DIR, or HF_HUB_CACHE"
        return Finding("Hub cache", f"{folder} cannot be written: {reason}", "wrong", hint)
    made = "" if folder.is_dir() else ", made when it is needed"
    return Finding("Hub cache", f"{folder}{made}")


def _token(options: SourceOptions) -> Finding:
    try:
        token = token_to_send(options.token)
    except TokenError as error:
        return Finding("token", error.message, "wrong", error.hint)
    if token is None:
        return Finding("token", "none; private and gated models cannot be looked up", "note", "hf auth login")
    where = "--token" if options.token else "HF_TOKEN" if os.environ.get("HF_TOKEN") else "hf auth login"
    return Finding("token", f"one is sent, from {where}")


def _hub(options: SourceOptions) -> Finding:
    asked = Asked(ModelRef(name="doctor"))
    if is_offline(options):
        return Finding("Hub", f"{asked.endpoint} is not asked: offline", "note")
    hint = "Check the connection, the proxy and HF_ENDPOINT. --offline asks only the cache and the catalogue."
    try:
        within(_PATIENCE, _knock)
    except OutOfTimeError:
        return Finding("Hub", f"{asked.endpoint} does not answer within {_PATIENCE:g} s", "wrong", hint)
    except asked.failures() as error:
        said = asked.words(error) or type(error).__name__
        return Finding("Hub", f"{asked.endpoint} cannot be reached: {said}", "wrong", hint)
    return Finding("Hub", f"{asked.endpoint} answers")


def _knock() -> None:
    """Ask for a model that need not exist: any answer that is one of a Hub will do."""
    with quietly():
        try:
            model_info("vlm-inspect/doctor", None)
        except hub_error("HfHubHTTPError") as error:
            if error.response.status_code not in {401, 403, 404}:
                raise
