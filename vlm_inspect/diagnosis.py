"""What was found of the place that vlm-inspect runs in: its Python, its cache, its way to the Hub."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

State = Literal["ok", "note", "wrong"]


class Finding(Struct, frozen=True):
    """One thing that was looked at."""

    subject: str
    said: str
    state: State = "ok"
    """`note`: worth knowing, and answers come all the same. `wrong`: some or all answers do not come."""
    hint: str = ""
    """What to type, where something is wrong."""
