"""Arithmetic, comparison, truth and iteration of values, within limits."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping

from vlm_inspect.builders.source.values import (
    Choice,
    External,
    Instance,
    Items,
    Parameter,
    Table,
    Unknown,
    Value,
    is_number,
    is_plain,
)

LARGEST_NUMBER = 2**63
LONGEST_VALUE = 100_000  # items of a list, characters of a string
LONGEST_LOOP = 4096  # iterations of a loop
_LARGEST_POWER = 64


def _power(left: Value, right: Value) -> Value:
    is_complex = left < 0 and isinstance(right, float)
    if is_complex or abs(right) > _LARGEST_POWER or abs(left) >= LARGEST_NUMBER:
        raise ArithmeticError
    return left**right


_ARITHMETIC: Mapping[type[ast.operator], Callable[[Value, Value], Value]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
}
_COMPARED: Mapping[type[ast.cmpop], Callable[[Value, Value], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def truth_value(value: Value) -> bool | None:
    """The truth of a value; None if it is unknown."""
    if isinstance(value, (Unknown, Choice, External, Parameter)):
        return None
    if isinstance(value, (Items, Table)) and not value.exact:
        return True if value else None
    return bool(value)


def binary_operation(kind: type[ast.operator], left: Value, right: Value) -> Value:
    """Arithmetic of numbers, and concatenation of lists and strings."""
    if isinstance(left, Unknown) or isinstance(right, Unknown):
        return left if isinstance(left, Unknown) else right
    if isinstance(left, Items):
        return _list_operation(kind, left, right)
    if kind is ast.Add and isinstance(left, str) and isinstance(right, str):
        return left + right if len(left) + len(right) <= LONGEST_VALUE else Unknown()
    compute = _ARITHMETIC.get(kind)
    if compute is None or not (is_number(left) and is_number(right)):
        return Unknown()
    try:
        return bounded(compute(left, right))
    except (ArithmeticError, ValueError):
        return Unknown()


def bounded(number: Value) -> Value:
    """The number, or unknown if it is too large."""
    return number if abs(number) < LARGEST_NUMBER else Unknown()


def _list_operation(kind: type[ast.operator], left: Items, right: Value) -> Value:
    if kind is ast.Add and isinstance(right, (Items, tuple)) and len(left) + len(right) <= LONGEST_VALUE:
        return Items([*left, *right], exact=left.exact and getattr(right, "exact", True))
    if kind is ast.Mult and type(right) is int and 0 <= right * len(left) <= LONGEST_VALUE:
        return Items(list(left) * right, exact=left.exact)
    return Unknown()


def compare(kind: ast.cmpop, left: Value, right: Value) -> bool | None:
    """The result of a comparison; None if it is unknown."""
    if isinstance(kind, (ast.IsNot, ast.NotIn)):
        answer = compare(ast.Is() if isinstance(kind, ast.IsNot) else ast.In(), left, right)
        return None if answer is None else not answer
    if isinstance(kind, ast.Is):
        undecided = any(isinstance(each, (Unknown, Choice, External)) for each in (left, right))
        known = not undecided and (right is None or left is None or isinstance(right, bool))
        return left is right if known else None
    if isinstance(kind, ast.In):
        return _contains(right, left)
    if not (is_plain(left) and is_plain(right)):
        return None
    try:
        return bool(_COMPARED[type(kind)](left, right))
    except TypeError:
        return None


def _contains(container: Value, value: Value) -> bool | None:
    if not is_plain(value):
        return None
    if isinstance(container, str):
        return value in container if isinstance(value, str) else None
    if isinstance(container, (Items, Table, tuple)) and getattr(container, "exact", True):
        options = list(container)
        return value in options if all(is_plain(option) for option in options) else None
    return None


def items_of(value: Value) -> list[Value] | None:
    """The items of an iterable; None if they are unknown or too many."""
    if isinstance(value, Instance) and value.is_module:
        held = value.attributes
        is_list = not value.incomplete_reason and all(name.isdigit() for name in held)
        return list(held.values()) if is_list and value.class_name in {"ModuleList", "Sequential"} else None
    if isinstance(value, (Items, Table)) and not value.exact:
        return None
    if isinstance(value, (list, tuple, range, dict)) and len(value) <= LONGEST_LOOP:
        return list(value)
    return None
