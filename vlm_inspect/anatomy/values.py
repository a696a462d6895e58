"""Attributes and configuration values as the numbers that they should be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def whole(value: object) -> int | None:
    """A whole number, or None for anything else, True and False included."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def number(value: object) -> float | None:
    """A number, or None for anything else: NaN and the infinities, which a config.json may hold, are none."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    return float(value) if math.isfinite(value) else None


def first_whole(config: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    """The first of these keys that holds a whole number above zero; a list of equal ones counts as one."""
    for name in names:
        value = config.get(name)
        if isinstance(value, (list, tuple)) and value and len(set(map(str, value))) == 1:
            value = value[0]
        if whole(value):
            return whole(value)
    return None
