"""A model's configuration from the Hub, with huggingface_hub's cache, token and environment variables.

A HEAD request resolves the revision to a commit. The file is downloaded only if the cache does not have that
commit, and then by the commit: all files of a model are of one commit, even if the branch moves. If the Hub
cannot be reached, the cached commit is used, with a note.

hf_hub_download is not used: it turns a server's ETag into a path, and limits neither bytes nor time.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from msgspec.structs import replace

from vlm_inspect.core import errors
from vlm_inspect.core.checkpoint import Checkpoint
from vlm_inspect.core.model_ref import ModelIdentity, ModelRef
from vlm_inspect.core.options import InspectOptions
from vlm_inspect.sources.config_file import CONFIG, SIZE_LIMIT, check_size, parse_config, read_config
from vlm_inspect.storage.atomic import atomic_write

_COMMIT = re.compile(r"[0-9a-f]{40}")


def load(ref: ModelRef, options: InspectOptions) -> Checkpoint:
    """Load the configuration at a commit of a repo. Raises SourceError."""
    revision = ref.revision or "main"  # becomes part of a URL and of a path in the cache
    if not revision.isprintable() or ".." in revision or revision.startswith("/"):
        raise errors.RevisionNotFoundError(
            f"{ref.name}: Invalid revision {revision!r}.",
            hint="Use an existing branch, tag or commit, or omit --revision.",
            model=ref.name,
        )
    offline, cached, damage = is_offline(options), None, ""
    try:
        cached = load_cached(ref, CONFIG, options)
    except (errors.InvalidConfigError, errors.ConfigMissingError) as error:
        damage = error.message.removeprefix(f"{ref.name}: ")
    if cached is not None and (ref.is_commit or offline):
        return cached
    try:
        if offline:
            raise _not_cached(ref)
        return download(ref, CONFIG, options)
    except errors.HubUnavailableError as error:
        if damage:
            reason = "Offline." if offline else error.message
            raise errors.HubUnavailableError(
                f"{reason} The cached copy of {ref.name} is damaged: {damage}",
                hint="Run it again with access to the Hub, and without --offline, to download a new copy.",
                model=ref.name,
            ) from error
        if cached is None:
            raise
        commit = (cached.identity.revision or "")[:12]
        note = f"{error.message} {ref.name} is answered from the cache, commit {commit}."
        return replace(cached, notes=(note,))


def is_offline(options: InspectOptions) -> bool:
    """Whether requests are forbidden. huggingface_hub reads HF_HUB_OFFLINE when it is imported."""
    from huggingface_hub import constants

    return options.offline or bool(constants.HF_HUB_OFFLINE)


def check_endpoint() -> None:
    """Raise SourceError if HF_ENDPOINT is not a URL: huggingface_hub cannot be imported then."""
    try:
        parts = urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
        is_valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_valid = False
    if not is_valid:
        raise errors.SourceError(
            "HF_ENDPOINT is not a valid URL, for example https://huggingface.co.",
            hint="Correct it, or unset it to use https://huggingface.co: unset HF_ENDPOINT",
        )


def token_to_send(token: str | None) -> str | None:
    """The token, or else the one that huggingface_hub finds. Raises TokenError if it cannot be sent."""
    from huggingface_hub import constants, get_token

    if token is None and constants.HF_HUB_DISABLE_IMPLICIT_TOKEN:
        return None
    try:
        found = (get_token() if token is None else token.strip()) or None
    except OSError as error:
        raise errors.TokenError(
            f"The Hub token cannot be read: {error.filename}: {error.strerror}.",
            hint="Make the file readable, or set HF_TOKEN.",
        ) from error
    if found is not None and not (found.isascii() and found.isprintable() and " " not in found):
        # the HTTP library's own error would show the token
        raise errors.TokenError(
            "The Hub token has invalid characters.",
            hint="Copy it again from the Hub's settings: hf auth login, or HF_TOKEN, or --token",
        )
    return found


def load_cached(ref: ModelRef, name: str, options: InspectOptions) -> Checkpoint | None:
    """Load a configuration file from the cache; None if it is not cached. Raises SourceError."""
    path = find_cached(ref, name, options)
    return _checkpoint(ref, path.parent.name, read_config(path, ref.name)) if path else None


def download(ref: ModelRef, name: str, options: InspectOptions) -> Checkpoint:
    """Resolve the revision; load a configuration file of that commit, cached or downloaded.

    If the cache cannot be written, the configuration is not cached, and a note says so. Raises SourceError.
    """
    from vlm_inspect.sources.hub_errors import HubRequest

    request = HubRequest(ref, token_to_send(options.token))
    return request.run(options, partial(_download, ref, name, options, request.token))


def file_url(ref: ModelRef, name: str) -> str:
    """The URL of a file at a revision."""
    from huggingface_hub import constants

    template = str(constants.HUGGINGFACE_CO_URL_TEMPLATE)
    revision = quote(ref.revision or "main", safe="")
    return template.format(repo_id=quote(ref.name), revision=revision, filename=quote(name))


def _download(ref: ModelRef, name: str, options: InspectOptions, token: str | None) -> Checkpoint:
    from vlm_inspect.sources import http

    response = http.head(file_url(ref, name), token)
    commit, size = response.headers.get(http.COMMIT, ""), http.file_size(response)
    if not _COMMIT.fullmatch(commit):
        raise http.UnexpectedResponseError("it names no commit")
    if ref.revision and ref.is_commit and commit != ref.revision:
        raise http.UnexpectedResponseError(f"commit {ref.revision[:12]} was requested, and it is of another")
    check_size(size or 0, ref.name)
    at_commit = ModelRef(ref.name, commit)
    cached = find_cached(at_commit, name, options)
    if cached is not None and _is_sound(cached, size, ref.name):
        with suppress(OSError):  # a read-only cache
            _write_ref(ref, commit, options)
        return _checkpoint(ref, commit, read_config(cached, ref.name))
    part = http.get_range(file_url(at_commit, name), 0, SIZE_LIMIT + 1, token, commit)
    if part is None:
        raise http.UnexpectedResponseError(f"{name} exists in the first response, not in the second")
    if size is not None and size != len(part.content):
        raise http.TruncatedResponseError(f"received {len(part.content):,} of {size:,} bytes")
    checkpoint = _checkpoint(ref, commit, parse_config(part.content, ref.name))  # only a configuration is cached
    try:
        _write(ref, _repo_folder(ref, options) / "snapshots" / commit / name, part.content, options)
        _write_ref(ref, commit, options)
    except OSError as error:  # read-only, full, or a file is where a folder should be
        from vlm_inspect.sources.hub_errors import OTHER_CACHE

        place = f" ({error.filename})" if error.filename else ""
        note = f"The Hub's cache cannot be written: {error.strerror or error}{place}. {OTHER_CACHE}."
        return replace(checkpoint, notes=(note,))
    return checkpoint


def _is_sound(cached: Path, size: int | None, model: str) -> bool:
    try:
        content = cached.read_bytes()
        parse_config(content, model)
    except (OSError, errors.InvalidConfigError):
        return False
    return size in {None, len(content)}


def find_cached(ref: ModelRef, name: str, options: InspectOptions) -> Path | None:
    """The cached file, snapshots/<commit>/<name>, with the commit in refs/<branch> if it is a branch.

    As huggingface_hub's `try_to_load_from_cache`, which imports an HTTP library.
    """
    revision = ref.revision or "main"
    try:
        repo = _repo_folder(ref, options)
        pointer = repo / "refs" / revision
        commit = pointer.read_text(encoding="utf-8") if pointer.is_file() else revision
        found = repo / "snapshots" / commit / name
        return found if found.is_file() else None
    except (OSError, ValueError):  # an unreadable cache, or a name that no file can have
        return None


def cached_names(options: InspectOptions) -> list[str]:
    """The names of the repos in the cache."""
    from huggingface_hub import constants

    folder = options.cache_folder or Path(constants.HF_HUB_CACHE).expanduser()
    with suppress(OSError):
        return [path.name.removeprefix("models--").replace("--", "/") for path in folder.glob("models--*")]
    return []


def _repo_folder(ref: ModelRef, options: InspectOptions) -> Path:
    from huggingface_hub import constants

    folder = options.cache_folder or Path(constants.HF_HUB_CACHE).expanduser()
    return folder / f"models--{ref.name.replace('/', '--')}"


def _write_ref(ref: ModelRef, commit: str, options: InspectOptions) -> None:
    revision = ref.revision or "main"
    path = _repo_folder(ref, options) / "refs" / revision
    if revision != commit and not (path.is_file() and path.read_bytes() == commit.encode()):
        _write(ref, path, commit.encode(), options)


def _write(ref: ModelRef, path: Path, content: bytes, options: InspectOptions) -> None:
    """The temporary file is in the repo's folder: huggingface_hub takes each file in refs for a branch."""
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, content, durable=False, temp_dir=_repo_folder(ref, options))


def _checkpoint(ref: ModelRef, commit: str, config: dict[str, Any]) -> Checkpoint:
    return Checkpoint(ModelIdentity(id=ref.name, revision=commit, source="hub"), config)


def _not_cached(ref: ModelRef) -> errors.HubUnavailableError:
    revision = f" at revision {ref.revision}" if ref.revision else ""
    return errors.HubUnavailableError(
        f"Offline, and neither the cache nor the built-in catalogue has {ref.name}{revision}.",
        hint="Run once without --offline (and without HF_HUB_OFFLINE) to cache it.",
        model=ref.name,
    )
