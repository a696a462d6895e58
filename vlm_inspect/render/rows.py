"""Rows: a model as a table asks about it."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from vlm_inspect.architecture import Architecture
from vlm_inspect.errors import VlmInspectError
from vlm_inspect.ref import ModelIdentity

Fact = str | bool | int | float


class Failure(Struct, frozen=True):
    """Why a model could not be answered."""

    type: str
    message: str
    hint: str = ""

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """What an exception says."""
        if isinstance(error, VlmInspectError):
            return cls(type(error).__name__, error.message, error.hint)
        return cls(type(error).__name__, str(error))


class Row(Struct, frozen=True):
    """A model under the name that is shown for it: its record, or why there is none."""

    name: str
    architecture: Architecture | None = None
    error: Failure | None = None
    facts: Mapping[str, Fact] = field(default_factory=dict)
    """What the user states of it, by the ids of the comparison's columns."""
    model: ModelIdentity | None = None
    """Which model it is, where there is no record to say so."""
