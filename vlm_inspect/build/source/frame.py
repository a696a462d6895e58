"""Frame: one call on its way."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from vlm_inspect.build.source.scope import Scope
from vlm_inspect.build.source.values import ClassRef, Value


class Frame(Struct, eq=False):
    """One call on its way: its names, and whose method it is."""

    scope: Scope
    names: dict[str, Value] = field(default_factory=dict)
    around: Mapping[str, Value] = field(default_factory=dict)
    owner: ClassRef | None = None
    first: Value = None
    """The first argument: `self` of a method."""
    returns: list[Value] = field(default_factory=list)
    """What branches returned that may or may not have run."""
