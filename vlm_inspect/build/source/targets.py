"""What statements bind: names, attributes, items, several at once."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from vlm_inspect.build.source.frame import Frame
from vlm_inspect.build.source.values import (
    Instance,
    Items,
    Table,
    Unknown,
    Value,
)

if TYPE_CHECKING:
    from vlm_inspect.build.source.machine import Machine

NOT_FOLLOWED = "it is set in a way that is not followed"


def store(machine: Machine, target: ast.expr, value: Value, frame: Frame) -> None:
    """Bind a target to a value: a name, an attribute, an item, or several at once."""
    if isinstance(target, ast.Name):
        machine.set(frame.names, target.id, value)
    elif isinstance(target, ast.Attribute):
        set_attribute(machine, machine.evaluate(target.value, frame), target.attr, value)
    elif isinstance(target, ast.Subscript):
        _set_item(
            machine, machine.evaluate(target.value, frame), machine.evaluate(target.slice, frame), value
        )
    elif isinstance(target, (ast.Tuple, ast.List)):
        values = list(value) if isinstance(value, (tuple, Items)) and len(value) == len(target.elts) else None
        for index, inner in enumerate(target.elts):
            store(machine, inner, values[index] if values else Unknown(NOT_FOLLOWED), frame)


def set_attribute(machine: Machine, owner: Value, name: str, value: Value) -> None:
    """`owner.name = value`; on something unknown it may be any part of the instance that it is part of."""
    if isinstance(owner, Instance):
        machine.set(owner.attributes, name, value)
    elif isinstance(owner, Unknown) and isinstance(owner.of, Instance):
        machine.set(owner.of.replaced, name, f"{name} is replaced after it is built")


def _set_item(machine: Machine, owner: Value, key: Value, value: Value) -> None:
    plain = isinstance(key, (int, str))
    if isinstance(owner, Instance) and owner.is_module:
        if plain:
            machine.set(owner.attributes, str(key), value)
        else:
            owner.open_reason = NOT_FOLLOWED
    elif isinstance(owner, Table):
        if plain:
            machine.set(owner, key, value)
        else:
            owner.exact = False
    elif isinstance(owner, Items):
        known = type(key) is int and -len(owner) <= key < len(owner)
        content = [value if known and index == key % len(owner) else item for index, item in enumerate(owner)]
        machine.refill(owner, content, exact=owner.exact and known)
    elif isinstance(owner, Unknown) and isinstance(owner.of, Instance):
        owner.of.open_reason = NOT_FOLLOWED


def delete(machine: Machine, target: ast.expr, frame: Frame) -> None:
    """`del target`."""
    if isinstance(target, ast.Name):
        machine.remove(frame.names, target.id)
    elif isinstance(target, ast.Attribute):
        owner = machine.evaluate(target.value, frame)
        if isinstance(owner, Instance):
            machine.remove(owner.attributes, target.attr)


def forget(machine: Machine, body: Sequence[ast.stmt], frame: Frame, reason: str) -> None:
    """Everything that statements may set is unknown from here on."""
    for target in _stored(body):
        store(machine, target, Unknown(reason), frame)


def _stored(body: Sequence[ast.stmt]) -> Iterator[ast.expr]:
    """The names and attributes that statements set, those of what is unnamed left out."""
    for statement in body:
        for node in ast.walk(statement):
            is_name = isinstance(node, ast.Name) or (
                isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
            )
            if is_name and isinstance(node.ctx, ast.Store):  # type: ignore[attr-defined]
                yield node  # type: ignore[misc]
