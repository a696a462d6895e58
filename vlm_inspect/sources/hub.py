"""A repo on the Hub, through huggingface_hub: its cache, its token, its environment variables.

One HEAD of config.json says commit and size. Only if the cache does not have that commit is the file
fetched. Where the Hub gives no answer the cached commit is used, and a note says so.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

from vlm_inspect.checkpoint import Checkpoint
from vlm_inspect.errors import HubUnavailableError, RevisionNotFoundError
from vlm_inspect.ref import ModelIdentity, ModelRef
from vlm_inspect.sources.config_file import check_size, read_config
from vlm_inspect.sources.dialogue import ask_hub
from vlm_inspect.sources.hub_cache import cached_file
from vlm_inspect.sources.hub_errors import Asked, HttpError, retry_after
from vlm_inspect.sources.hub_names import hub_error, transport_error
from vlm_inspect.sources.options import SourceOptions
from vlm_inspect.sources.token import token_to_send
from vlm_inspect.version import __version__

_CONFIG = "config.json"
_CALLER = {"library_name": "vlm-inspect", "library_version": __version__}
_BUSY = (429, 500, 502, 503, 504)
# A Hub that is busy for longer than this is not waited for.
_LONGEST_WAIT = 5


def load(ref: ModelRef, options: SourceOptions) -> Checkpoint:
    """The configuration at a commit of a repo. Raises a SourceError, HubUnavailableError for no answer."""
    _check_revision(ref)
    # looked at first: a download that fails leaves the cache pointing at the commit that it did not get
    cached = _cached(ref, options)
    if cached is not None and (ref.is_commit or is_offline(options)):
        return _checkpoint(ref, cached)
    if is_offline(options):
        raise _offline(ref)
    try:
        return _checkpoint(ref, _ask(ref, options, cached))
    except HubUnavailableError as error:
        if cached is None:
            raise
        note = f"{error.message} {ref.name} is answered from the cache, commit {_commit(cached)[:12]}."
        return _checkpoint(ref, cached, note)


def prepare() -> None:
    """Import what the functions of this file use."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    del get_hf_file_metadata, hf_hub_download, hf_hub_url


def is_offline(options: SourceOptions) -> bool:
    """Whether the Hub is not to be asked. HF_HUB_OFFLINE is read when huggingface_hub is imported."""
    from huggingface_hub import constants

    return options.offline or bool(constants.HF_HUB_OFFLINE)


def _ask(ref: ModelRef, options: SourceOptions, cached: Path | None) -> Path:
    """The cached file of the commit that the Hub says the revision is at, within the deadline."""
    asked = Asked(ref, token_to_send(options.token))

    return ask_hub(
        asked,
        options,
        partial(_fetch, ref, options, cached, asked.token),
        hint="Try again later; --offline asks only the cache and the catalogue.",
    )


def _fetch(ref: ModelRef, options: SourceOptions, cached: Path | None, token: str | None) -> Path:
    """Ask for commit and size, then for the file where the cache does not have it at that commit."""
    from huggingface_hub import hf_hub_download, hf_hub_url

    metadata = metadata_of(hf_hub_url(ref.name, _CONFIG, revision=_revision(ref)), token)
    check_size(metadata.size or 0, ref.name)
    if cached is not None and _commit(cached) == metadata.commit_hash:
        return cached
    # By the revision's name, not by the commit: so the cache learns where the branch is, for offline use.
    # The commit is then read off the path: it is the file's own even if the branch moved meanwhile.
    download = partial(
        hf_hub_download,
        ref.name,
        _CONFIG,
        revision=_revision(ref),
        cache_dir=_cache(options),
        token=token or False,
        **_CALLER,
    )
    try:
        return Path(download())
    except transport_error() as error:  # dropped half-way: newer versions resume by themselves, others do not
        if getattr(error, "response", None) is not None:
            raise
        return Path(download())


def metadata_of(url: str, token: str | None) -> Any:
    """What a HEAD says of the file. A Hub that is busy, and not for long, is asked once more.

    huggingface_hub's own retries are left off: they wait as long as a Retry-After says.
    """
    from huggingface_hub import get_hf_file_metadata

    try:
        metadata = get_hf_file_metadata(url, token=token or False, **_CALLER)
    except hub_error("HfHubHTTPError") as error:
        if (wait := _short_wait(error)) is None:
            raise
        time.sleep(wait)
        metadata = get_hf_file_metadata(url, token=token or False, **_CALLER)
    if metadata.commit_hash is None or metadata.etag is None:
        raise hub_error("FileMetadataError")("The answer names no commit.")
    return metadata


def _short_wait(error: HttpError) -> float | None:
    """The seconds after which to ask again; None where that makes no sense."""
    if error.response.status_code not in _BUSY:
        return None
    wait = retry_after(error)
    if wait is None:
        return 1.0
    return wait if wait <= _LONGEST_WAIT else None


def _cached(ref: ModelRef, options: SourceOptions) -> Path | None:
    """The file in the cache, at the commit or where the branch was when it was last asked for."""
    try:
        return cached_file(ref.name, _CONFIG, _revision(ref), _cache(options))
    except (OSError, ValueError):  # a cache that cannot be read, or a name that it cannot have
        return None


def _cache(options: SourceOptions) -> Path | None:
    """The cache's folder; None for huggingface_hub's own choice."""
    return options.cache_dir.expanduser() if options.cache_dir else None


def _commit(cached: Path) -> str:
    """The commit of a cached file: the cache has a folder for each."""
    return cached.parent.name


def _checkpoint(ref: ModelRef, cached: Path, *notes: str) -> Checkpoint:
    identity = ModelIdentity(id=ref.name, revision=_commit(cached), source="hub")
    return Checkpoint(identity, read_config(cached, ref.name), notes)


def _revision(ref: ModelRef) -> str:
    return ref.revision or "main"


def _check_revision(ref: ModelRef) -> None:
    """Refuse what can be no revision, before it is made part of an address and of a path in the cache."""
    revision = _revision(ref)
    if not revision.isprintable() or ".." in revision or revision.startswith("/"):
        raise RevisionNotFoundError(
            f"{ref.name}: {revision!r} can be no branch, tag or commit.",
            hint=f"Name one that is on the Hub, or none for the newest: {ref.name}",
            model=ref.name,
        )


def _offline(ref: ModelRef) -> HubUnavailableError:
    at = f" at revision {ref.revision}" if ref.revision else ""
    return HubUnavailableError(
        f"Offline, and neither the cache nor the built-in catalogue has {ref.name}{at}.",
        hint="Run once without --offline (and without HF_HUB_OFFLINE): the cache keeps what it fetched.",
        model=ref.name,
    )
