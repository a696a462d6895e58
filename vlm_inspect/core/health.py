"""The result of a check of the environment."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

State = Literal["ok", "note", "wrong"]


class HealthCheck(Struct, frozen=True):
    """The result of one check."""

    subject: str
    said: str
    """The result, for the user."""
    state: State = "ok"
    """`note`: everything works. `wrong`: some or all models cannot be inspected."""
    hint: str = ""
    """What to type, if something is wrong."""
