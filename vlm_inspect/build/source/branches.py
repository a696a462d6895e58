"""Where a condition cannot be told, both ways are gone, and what they agree on is kept."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from vlm_inspect.build.source.frame import Frame
from vlm_inspect.build.source.values import (
    Choice,
    Items,
    Value,
    alike,
)

if TYPE_CHECKING:
    from vlm_inspect.build.source.machine import Machine

_BY_A_CONDITION = "it depends on a condition that the text does not tell"


class Flow(Struct, frozen=True):
    """How statements ended before their end."""

    kind: Literal["return", "raise", "break", "continue"]
    value: Value = None


def fork(machine: Machine, bodies: Sequence[Sequence[ast.stmt]], frame: Frame) -> Flow | None:
    """Go each way, and keep what all of them agree on; what one alone sets may be there."""
    flows, changes = [], []
    for body in bodies:
        mark = machine.mark()
        flow = machine.run(body, frame)
        changed = machine.undo(mark)
        if flow is None or flow.kind != "raise":
            flows.append(flow)
            changes.append(changed)
    if not flows:
        return Flow("raise")
    _join(machine, changes)
    returned = [flow.value for flow in flows if flow is not None and flow.kind == "return"]
    if len(returned) == len(flows):
        return Flow("return", Choice.of(returned, _BY_A_CONDITION))
    frame.returns += returned
    return None


def _join(
    machine: Machine, changes: Sequence[dict[tuple[int, object], tuple[object, object, object]]]
) -> None:
    for key in dict.fromkeys(key for changed in changes for key in changed):
        container, name, _ = next(changed[key] for changed in changes if key in changed)
        if isinstance(container, Items):
            after = [
                changed[key][2] if key in changed else (list(container), container.exact)
                for changed in changes
            ]
            _join_items(machine, container, after)
        elif isinstance(container, dict):
            now = container.get(name)
            values = [changed[key][2] if key in changed else now for changed in changes]
            absent = [
                name not in container if key not in changed else machine.is_missing(changed[key][2])
                for changed in changes
            ]
            there = [value for value, is_absent in zip(values, absent, strict=True) if not is_absent]
            if there:
                machine.set(container, name, Choice.of(there, _BY_A_CONDITION))


def _join_items(machine: Machine, items: Items, after: Sequence[Any]) -> None:
    contents = [content for content, _ in after]
    longest = max(contents, key=len)
    agree = all(len(content) == len(longest) for content in contents) and all(
        alike(*pair) for content in contents for pair in zip(content, longest, strict=True)
    )
    machine.refill(items, longest, exact=agree and all(exact for _, exact in after))
