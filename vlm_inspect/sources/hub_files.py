"""A small file of a repo on the Hub: which commit it is of, and its content at that commit.

One HEAD says commit and size. Only if the cache does not have that commit is the file fetched, by the
commit's name: whatever happens to the branch meanwhile, the file is the commit's.
"""

from __future__ import annotations

import re
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

from msgspec import Struct

from vlm_inspect.errors import InvalidConfigError
from vlm_inspect.ref import ModelRef
from vlm_inspect.sources import hub_cache
from vlm_inspect.sources.bad_answers import BrokenOffError, UnlikeHubError
from vlm_inspect.sources.config_file import SIZE_LIMIT, check_size, parse_config
from vlm_inspect.sources.hub_names import hub_error
from vlm_inspect.sources.options import InspectOptions
from vlm_inspect.sources.ranges import fetch_whole
from vlm_inspect.sources.wire import (
    COMMIT,
    answer,
    ask_twice,
    hub_headers,
    number,
    stated_length,
)

_COMMIT = re.compile(r"[0-9a-f]{40}")


class FileFacts(Struct, frozen=True):
    """What a HEAD says of a file."""

    commit: str
    size: int | None


def fetch_config(ref: ModelRef, name: str, options: InspectOptions, token: str | None) -> Path:
    """The cached file of the commit that the Hub says the revision is at.

    Raises InvalidConfigError for what is no configuration, and what huggingface_hub raises for no answer.
    """
    facts = facts_of(ref, name, token)
    check_size(facts.size or 0, ref.name)
    at_commit = ModelRef(ref.name, facts.commit)
    kept = hub_cache.find(at_commit, name, options)
    if kept is not None and _is_sound(kept, facts, ref.name):
        with suppress(OSError):  # a cache that may only be read
            hub_cache.point(ref, facts.commit, options)
        return kept
    content = _content(at_commit, name, facts, token)
    parse_config(content, ref.name)  # what is none is not kept
    return hub_cache.keep(ref, name, facts.commit, content, options)


def _is_sound(kept: Path, facts: FileFacts, model: str) -> bool:
    """Whether a file of the cache can be what the Hub has: what was damaged is fetched again."""
    try:
        content = kept.read_bytes()
        parse_config(content, model)
    except (OSError, InvalidConfigError):
        return False
    return facts.size in {None, len(content)}


def facts_of(ref: ModelRef, name: str, token: str | None) -> FileFacts:
    """Which commit a file is of, and its size. A Hub that is busy, and not for long, is asked once more."""
    from huggingface_hub import hf_hub_url

    url = hf_hub_url(ref.name, name, revision=ref.revision or "main")
    facts = ask_twice(partial(_head, url, token))
    if not _COMMIT.fullmatch(facts.commit):
        raise hub_error("FileMetadataError")("The answer names no commit.")
    if ref.is_commit and facts.commit != ref.revision:
        raise UnlikeHubError(f"commit {(ref.revision or '')[:12]} was asked for, and another came")
    return facts


def _head(url: str, token: str | None) -> FileFacts:
    with answer("HEAD", url, hub_headers(token), look=_names_commit) as response:
        linked = response.headers.get("X-Linked-Size", "")
        is_file = response.status_code == HTTPStatus.OK
        size = number(linked) if linked else stated_length(response) if is_file else None
        return FileFacts(response.headers.get(COMMIT, ""), size)


def _names_commit(response: Any) -> bool:
    """Whether no redirect need be followed any further."""
    return response.status_code < HTTPStatus.BAD_REQUEST and COMMIT in response.headers


def _content(ref: ModelRef, name: str, facts: FileFacts, token: str | None) -> bytes:
    from huggingface_hub import hf_hub_url

    url = hf_hub_url(ref.name, name, revision=facts.commit)
    content = fetch_whole(url, SIZE_LIMIT, hub_headers(token), facts.commit)
    if content is None:
        raise UnlikeHubError(f"it has a {name}, and then has none")
    if facts.size not in {None, len(content)}:
        raise BrokenOffError(f"{len(content):,} bytes came of {facts.size:,}")
    return content
