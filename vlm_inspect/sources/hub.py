"""A repo's configuration from the Hub: with huggingface_hub's cache, its token, its environment variables.

Where the Hub gives no answer the cached commit is used, and a note says so.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from msgspec.structs import replace

from vlm_inspect.checkpoint import Checkpoint
from vlm_inspect.errors import (
    ConfigMissingError,
    HubUnavailableError,
    InvalidConfigError,
    RevisionNotFoundError,
)
from vlm_inspect.ref import ModelIdentity, ModelRef
from vlm_inspect.sources import hub_cache
from vlm_inspect.sources.config_file import read_config
from vlm_inspect.sources.options import InspectOptions

_CONFIG = "config.json"


def load(ref: ModelRef, options: InspectOptions) -> Checkpoint:
    """The configuration at a commit of a repo. Raises a SourceError, HubUnavailableError for no answer."""
    _check_revision(ref)
    cached = hub_cache.find(ref, _CONFIG, options)
    kept, damage = _kept(ref, cached)
    if kept is not None and (ref.is_commit or is_offline(options)):
        return kept
    if is_offline(options):
        raise _damaged(ref, "Offline.", damage) if damage else _offline(ref)
    try:
        return _checkpoint(ref, _ask(ref, options))
    except HubUnavailableError as error:
        if damage:
            raise _damaged(ref, error.message, damage) from error
        if kept is None or cached is None:
            raise
        note = f"{error.message} {ref.name} is answered from the cache, commit {_commit(cached)[:12]}."
        return replace(kept, notes=(note,))


def _kept(ref: ModelRef, cached: Path | None) -> tuple[Checkpoint | None, str]:
    """What the cache has; where that is damaged, and so as good as nothing, what is wrong with it."""
    if cached is None:
        return None, ""
    try:
        return _checkpoint(ref, cached), ""
    except (InvalidConfigError, ConfigMissingError) as error:
        return None, error.message.removeprefix(f"{ref.name}: ")


def prepare() -> None:
    """Import what the functions of this file use."""
    from huggingface_hub import constants, get_token, hf_hub_url
    from huggingface_hub.utils import get_session, hf_raise_for_status

    del constants, get_token, hf_hub_url, get_session, hf_raise_for_status


def is_offline(options: InspectOptions) -> bool:
    """Whether the Hub is not to be asked. HF_HUB_OFFLINE is read when huggingface_hub is imported."""
    from huggingface_hub import constants

    return options.offline or bool(constants.HF_HUB_OFFLINE)


def _ask(ref: ModelRef, options: InspectOptions) -> Path:
    """The cached file of the commit that the Hub says the revision is at, within the deadline."""
    from vlm_inspect.sources.dialogue import ask_hub
    from vlm_inspect.sources.hub_errors import Asked
    from vlm_inspect.sources.hub_files import fetch_config
    from vlm_inspect.sources.token import token_to_send

    asked = Asked(ref, token_to_send(options.token))

    return ask_hub(
        asked,
        options,
        partial(fetch_config, ref, _CONFIG, options, asked.token),
        hint="Try again later; --offline asks only the cache and the catalogue.",
    )


def _commit(cached: Path) -> str:
    """The commit of a cached file: the cache has a folder for each."""
    return cached.parent.name


def _checkpoint(ref: ModelRef, cached: Path) -> Checkpoint:
    identity = ModelIdentity(id=ref.name, revision=_commit(cached), source="hub")
    return Checkpoint(identity, read_config(cached, ref.name))


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


def _damaged(ref: ModelRef, unavailable: str, damage: str) -> HubUnavailableError:
    return HubUnavailableError(
        f"{unavailable} The cache's copy of {ref.name} is damaged: {damage}",
        hint="Run it where the Hub can be reached, and without --offline: it is then fetched again.",
        model=ref.name,
    )


def _offline(ref: ModelRef) -> HubUnavailableError:
    at = f" at revision {ref.revision}" if ref.revision else ""
    return HubUnavailableError(
        f"Offline, and neither the cache nor the built-in catalogue has {ref.name}{at}.",
        hint="Run once without --offline (and without HF_HUB_OFFLINE): the cache keeps what it fetched.",
        model=ref.name,
    )
