"""What a loop goes through."""

from __future__ import annotations

from vlm_inspect.build.source.values import (
    Instance,
    Items,
    Table,
    Value,
)

LONGEST_LOOP = 4096
"""Rounds of a loop that are followed."""


def items_of(value: Value) -> list[Value] | None:
    """What a loop goes through; None where that is not known, or without end."""
    if isinstance(value, Instance) and value.is_module:  # a list of modules
        held = value.attributes
        is_list = not value.open_reason and all(name.isdigit() for name in held)
        return list(held.values()) if is_list and value.class_name in {"ModuleList", "Sequential"} else None
    if isinstance(value, (Items, Table)) and not value.exact:
        return None
    if isinstance(value, (list, tuple, range, dict)) and len(value) <= LONGEST_LOOP:
        return list(value)
    return None
