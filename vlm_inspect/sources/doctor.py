"""Health checks of huggingface_hub, its cache, the token, proxies and the Hub."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile

from vlm_inspect.core import packages
from vlm_inspect.core.errors import SourceError, TokenError, VlmInspectError
from vlm_inspect.core.model_ref import ModelRef
from vlm_inspect.core.options import InspectOptions
from vlm_inspect.core.packages import HealthCheck
from vlm_inspect.sources import hub

_NO_MODEL = "vlm-inspect/doctor"


def run_checks(options: InspectOptions) -> Iterator[HealthCheck]:
    """Check huggingface_hub, its cache, whether there is a token, proxies, and whether the Hub responds."""
    try:
        from huggingface_hub import constants, file_download  # noqa: F401
    except packages.IMPORT_ERRORS as error:
        failure = packages.import_failure("huggingface_hub", error)
        yield HealthCheck("huggingface_hub", failure.message, "wrong", failure.hint)
        return
    from vlm_inspect.sources.hub_errors import proxy_variables

    yield HealthCheck("huggingface_hub", packages.version("huggingface_hub") or "of an unknown version")
    try:
        hub.check_endpoint()
    except SourceError as error:
        yield HealthCheck("Hub", error.message.rstrip("."), "wrong", error.hint)
        return
    yield _check_cache(options)
    yield _check_token(options)
    if proxy_variables():
        yield HealthCheck("proxy", f"set by {', '.join(proxy_variables())}", "note")
    yield _check_hub(options)


def _check_cache(options: InspectOptions) -> HealthCheck:
    from huggingface_hub import constants

    from vlm_inspect.sources.hub_errors import OTHER_CACHE

    folder = options.cache_folder or Path(constants.HF_HUB_CACHE).expanduser()
    try:
        existing = next(place for place in (folder, *folder.parents) if place.exists())
        with TemporaryFile(dir=existing) as file:
            file.write(bytes(1 << 20))  # far more than a config.json and headers take
        unreadable = _first_unreadable(folder)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        return HealthCheck("Hub cache", f"{folder} cannot be written: {reason}", "wrong", OTHER_CACHE)
    if unreadable is not None:
        message = f"{folder}: this user cannot read or write {unreadable}"
        return HealthCheck("Hub cache", message, "wrong", OTHER_CACHE)
    return HealthCheck("Hub cache", f"{folder}{'' if folder.is_dir() else ', created when needed'}")


def _first_unreadable(folder: Path) -> Path | None:
    for repo in sorted(folder.glob("models--*")):
        if not os.access(repo, os.R_OK | os.W_OK | os.X_OK):
            return repo
        for file in repo.glob("snapshots/*/config.json"):
            if not os.access(file, os.R_OK):
                return file
    return None


def _check_token(options: InspectOptions) -> HealthCheck:
    try:
        token = hub.token_to_send(options.token)
    except TokenError as error:
        return HealthCheck("token", error.message, "wrong", error.hint)
    if token is None:
        message = "none; private and gated models are not available"
        return HealthCheck("token", message, "note", "hf auth login")
    source = "--token" if options.token else "HF_TOKEN" if os.environ.get("HF_TOKEN") else "hf auth login"
    return HealthCheck("token", f"sent, from {source}")


def _check_hub(options: InspectOptions) -> HealthCheck:
    from vlm_inspect.sources.hub_errors import HubRequest

    request = HubRequest(ModelRef(name=_NO_MODEL))
    if hub.is_offline(options):
        return HealthCheck("Hub", f"{request.endpoint} was not checked (offline)", "note")
    try:
        request.run(replace(options, timeout=10), _ping)
    except VlmInspectError as error:
        message = error.message.removeprefix(f"{_NO_MODEL}: ").rstrip(".")
        hint = error.hint if "--offline" in error.hint else f"{error.hint} Or use --offline."
        return HealthCheck("Hub", message, "wrong", hint)
    return HealthCheck("Hub", f"{request.endpoint} responds")


def _ping() -> None:
    """Request a model that need not exist: any of the Hub's responses will do."""
    from vlm_inspect.sources.http import StatusError, repo_info

    try:
        repo_info(_NO_MODEL, None)
    except StatusError as error:
        if error.status not in {401, 403, 404}:
            raise
