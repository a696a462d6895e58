"""Expressions, as far as the text tells their values."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from vlm_inspect.build.source import collected
from vlm_inspect.build.source.frame import Frame
from vlm_inspect.build.source.operators import binary, holds, is_number, is_plain, truth
from vlm_inspect.build.source.values import (
    Choice,
    Foreign,
    FunctionRef,
    Instance,
    Items,
    Super,
    Table,
    Unknown,
    Value,
)

if TYPE_CHECKING:
    from vlm_inspect.build.source.machine import Machine

_NOT_TOLD = "the text does not tell it"


def evaluate(machine: Machine, node: ast.expr, frame: Frame) -> Value:
    """The value of an expression; unknown where its kind is not followed."""
    handler = _HANDLERS.get(type(node))
    return handler(machine, node, frame) if handler else Unknown(_NOT_TOLD)


def _constant(machine: Machine, node: ast.Constant, frame: Frame) -> Value:
    del machine, frame
    plain = node.value is None or isinstance(node.value, (bool, int, float, str))
    return node.value if plain else Unknown(_NOT_TOLD)


def _name(machine: Machine, node: ast.Name, frame: Frame) -> Value:
    for known in (frame.names, frame.around):
        if node.id in known:
            return known[node.id]
    return machine.name(frame.scope, node.id)


def _attribute(machine: Machine, node: ast.Attribute, frame: Frame) -> Value:
    return machine.attribute(machine.evaluate(node.value, frame), node.attr)


def _subscript(machine: Machine, node: ast.Subscript, frame: Frame) -> Value:
    owner, key = machine.evaluate(node.value, frame), machine.evaluate(node.slice, frame)
    return item(machine, owner, key)


def item(machine: Machine, owner: Value, key: Value) -> Value:
    """`owner[key]`; of a table with an unknown key, any of its values."""
    if isinstance(owner, Instance):
        return _item_of_instance(machine, owner, key)
    if isinstance(owner, Table):
        if isinstance(key, (Unknown, Choice)) or not owner.exact:
            wanted = getattr(key, "reason", _NOT_TOLD)
            return Choice.of(owner.values(), wanted) if len(owner) else Unknown(wanted)
        return (
            owner[key] if is_plain(key) and key in owner else Unknown(f"there is no {str(key)[:50]!r} in it")
        )
    if isinstance(owner, (Items, tuple, str, range)) and type(key) is int and getattr(owner, "exact", True):
        return owner[key] if -len(owner) <= key < len(owner) else Unknown(_NOT_TOLD)
    return owner if isinstance(owner, Unknown) else Unknown(_NOT_TOLD)


def _item_of_instance(machine: Machine, owner: Instance, key: Value) -> Value:
    table = owner.attributes.get(INSTANTIATING)
    if table is not None:
        found = item(machine, table, key)
        options = found.options if isinstance(found, Choice) else (found,)
        return Choice.of((_made(machine, option) for option in options), "its class is chosen when it runs")
    if owner.is_module and is_plain(key):
        return owner.attributes.get(str(key), owner.attributes.get("*", Unknown(_NOT_TOLD, of=owner)))
    return Unknown(_NOT_TOLD, of=owner)


INSTANTIATING = "*instantiating"
"""Under which an object keeps the table whose classes it makes instances of (transformers' `ACT2FN`)."""


def _made(machine: Machine, entry: Value) -> Value:
    if isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[1], Table):  # noqa: PLR2004 - class, arguments
        return machine.call(entry[0], [], {str(key): value for key, value in entry[1].items()})
    return machine.call(entry, [], {})


def _call(machine: Machine, node: ast.Call, frame: Frame) -> Value:
    function = machine.evaluate(node.func, frame)
    if isinstance(function, Foreign) and function.path == "builtins.super" and not node.args:
        return _super(frame)
    args: list[Value] = []
    for each in node.args:
        if isinstance(each, ast.Starred):
            spread = machine.evaluate(each.value, frame)
            known = isinstance(spread, (Items, tuple)) and getattr(spread, "exact", True)
            args += list(spread) if known else [Unknown(_NOT_TOLD)]
        else:
            args.append(machine.evaluate(each, frame))
    named: dict[str, Value] = {}
    for keyword in node.keywords:
        value = machine.evaluate(keyword.value, frame)
        if keyword.arg is not None:
            named[keyword.arg] = value
        elif isinstance(value, Table):
            named.update({str(key): inner for key, inner in value.items()})
        elif isinstance(value, Instance):
            named.update(value.attributes)
    return machine.call(function, args, named)


def _super(frame: Frame) -> Value:
    if isinstance(frame.first, Instance) and frame.owner is not None:
        return Super(frame.first, frame.owner)
    return Unknown(_NOT_TOLD)


def _binary(machine: Machine, node: ast.BinOp, frame: Frame) -> Value:
    return binary(type(node.op), machine.evaluate(node.left, frame), machine.evaluate(node.right, frame))


def _unary(machine: Machine, node: ast.UnaryOp, frame: Frame) -> Value:
    value = machine.evaluate(node.operand, frame)
    if isinstance(node.op, ast.Not):
        known = truth(value)
        return Unknown(_NOT_TOLD) if known is None else not known
    if isinstance(node.op, ast.USub) and is_number(value):
        return -value
    return value if isinstance(value, Unknown) else Unknown(_NOT_TOLD)


def _boolean(machine: Machine, node: ast.BoolOp, frame: Frame) -> Value:
    stops_at = isinstance(node.op, ast.Or)
    value: Value = None
    open_before = False
    for each in node.values:
        value = machine.evaluate(each, frame)
        known = truth(value)
        if known is stops_at:
            # an unknown one before it may have stopped with a value of its own: as a condition it is the same
            return stops_at if open_before else value
        open_before = open_before or known is None
    return Unknown(_NOT_TOLD) if open_before else value


def _compare(machine: Machine, node: ast.Compare, frame: Frame) -> Value:
    left = machine.evaluate(node.left, frame)
    for kind, right_node in zip(node.ops, node.comparators, strict=True):
        right = machine.evaluate(right_node, frame)
        answer = holds(kind, left, right)
        if answer is not True:
            return Unknown(_NOT_TOLD) if answer is None else False
        left = right
    return True


def _choose(machine: Machine, node: ast.IfExp, frame: Frame) -> Value:
    test = truth(machine.evaluate(node.test, frame))
    if test is not None:
        return machine.evaluate(node.body if test else node.orelse, frame)
    both = (machine.evaluate(node.body, frame), machine.evaluate(node.orelse, frame))
    return Choice.of(both, "it depends on a condition that the text does not tell")


def _lambda(machine: Machine, node: ast.Lambda, frame: Frame) -> Value:
    del machine
    return FunctionRef(node, frame.scope, {**frame.around, **frame.names}, frame.owner)


_HANDLERS: Mapping[type[ast.expr], Callable[..., Value]] = {
    ast.Constant: _constant,
    ast.Name: _name,
    ast.Attribute: _attribute,
    ast.Subscript: _subscript,
    ast.Call: _call,
    ast.BinOp: _binary,
    ast.UnaryOp: _unary,
    ast.BoolOp: _boolean,
    ast.Compare: _compare,
    ast.IfExp: _choose,
    ast.List: collected.list_,
    ast.Set: collected.list_,
    ast.Tuple: collected.tuple_,
    ast.Dict: collected.table_,
    ast.ListComp: collected.comprehension_,
    ast.GeneratorExp: collected.comprehension_,
    ast.DictComp: collected.table_comprehension_,
    ast.JoinedStr: collected.text_,
    ast.Lambda: _lambda,
}
