"""What the Hub's API says of a repo: bounded, and looked at before it is believed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

from vlm_inspect.sources.bad_answers import UnlikeHubError
from vlm_inspect.sources.wire import answer, ask_twice, hub_headers, read

LIMIT = 32 * 2**20
"""Bytes of one answer: a repo of a hundred thousand files has ten million."""


def file_names(repo: str, commit: str, token: str | None) -> Sequence[str]:
    """The names of a repo's files at a commit. Raises what huggingface_hub raises, or UnlikeHubError."""
    info = ask_twice(partial(model_info, f"{repo}/revision/{commit}", token))
    if info.get("sha", commit) != commit:
        raise UnlikeHubError(f"commit {commit[:12]} was asked for, and another came")
    siblings = info.get("siblings") or []
    if not isinstance(siblings, list) or not all(map(_has_name, siblings)):
        raise UnlikeHubError("its list of files is none")
    return [each["rfilename"] for each in siblings if each["rfilename"].isprintable()]


def model_info(path: str, token: str | None) -> dict[str, Any]:
    """The API's object for a repo, or for a revision of it."""
    from huggingface_hub import constants

    with answer("GET", f"{constants.ENDPOINT}/api/models/{quote(path)}", hub_headers(token)) as response:
        content = read(response, LIMIT + 1)
    if len(content) > LIMIT:
        raise UnlikeHubError(f"its answer has more than {LIMIT:,} bytes")
    try:
        info = json.loads(content)
    except (ValueError, RecursionError):
        raise UnlikeHubError("its answer is not JSON") from None
    if not isinstance(info, dict):
        raise UnlikeHubError("its answer is JSON, but not an object")
    return info


def _has_name(sibling: Any) -> bool:
    return isinstance(sibling, dict) and isinstance(sibling.get("rfilename"), str)
