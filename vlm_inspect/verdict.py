"""CheckResult: the result of `check` for one snapshot file."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from vlm_inspect.difference import Difference

Status = Literal["same", "different", "missing", "orphaned", "failed"]
Cause = Literal["library", "repository", "unknown"]


class CheckResult(Struct, frozen=True):
    """Whether a model is still what its snapshot file says."""

    model: str
    file: str
    """The file's name in the snapshot folder."""
    status: Status
    cause: Cause | None = None
    """Why it differs, where that can be told: another library, or another commit of the repo."""
    difference: Difference | None = None
    message: str = ""
    """Of a failure: what happened."""
    hint: str = ""
    """Of a failure: what to type next."""
