"""What operators make of values: arithmetic, comparisons, truth, all within limits."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping

from vlm_inspect.build.source.values import (
    Bound,
    Choice,
    ClassRef,
    Foreign,
    FunctionRef,
    Instance,
    Items,
    Parameter,
    Partial,
    Table,
    Unknown,
    Value,
)

_NOT_TOLD = "the text does not tell it"
LARGEST_NUMBER = 2**63


LONGEST_VALUE = 100_000
"""Items of a list, characters of a text."""


_OBJECTS = (Instance, ClassRef, FunctionRef, Bound, Partial)


_ARITHMETIC: Mapping[type[ast.operator], Callable[[Value, Value], Value]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


_COMPARED: Mapping[type[ast.cmpop], Callable[[Value, Value], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def truth(value: Value) -> bool | None:
    """Whether a condition holds; None where that is not known."""
    if isinstance(value, (Unknown, Choice, Foreign, Parameter)):
        return None
    if isinstance(value, _OBJECTS):
        return True
    if isinstance(value, (Items, Table)) and not value.exact:
        return True if value else None
    return bool(value)


def binary(kind: type[ast.operator], left: Value, right: Value) -> Value:  # noqa: PLR0911 - a line for each kind
    """Arithmetic on numbers, and sums of lists and texts, within limits."""
    unknown = next((each for each in (left, right) if isinstance(each, Unknown)), None)
    if unknown is not None:
        return unknown
    if kind is ast.Add and isinstance(left, Items) and isinstance(right, (Items, tuple)):
        return _sum(left, right)
    if (
        kind is ast.Mult
        and isinstance(left, Items)
        and type(right) is int
        and 0 <= right * len(left) <= LONGEST_VALUE
    ):
        repeated = Items(list(left) * right)
        repeated.exact = left.exact
        return repeated
    if kind is ast.Add and isinstance(left, str) and isinstance(right, str):
        return left + right if len(left) + len(right) <= LONGEST_VALUE else Unknown(_NOT_TOLD)
    if kind is ast.Pow:
        return _power(left, right)
    compute = _ARITHMETIC.get(kind)
    if compute is None or not (is_number(left) and is_number(right)):
        return Unknown(_NOT_TOLD)
    return _computed(compute, left, right)


def _computed(compute: Callable[[Value, Value], Value], left: Value, right: Value) -> Value:
    try:
        result = compute(left, right)
    except (ArithmeticError, ValueError):
        return Unknown(_NOT_TOLD)
    return result if abs(result) < LARGEST_NUMBER else Unknown(_NOT_TOLD)


def _power(left: Value, right: Value) -> Value:
    small = 64
    if not (is_number(left) and is_number(right) and abs(right) <= small and abs(left) < LARGEST_NUMBER):
        return Unknown(_NOT_TOLD)
    try:
        result = float(left) ** right if isinstance(right, float) or right < 0 else left**right
    except (ArithmeticError, ValueError):
        return Unknown(_NOT_TOLD)
    return result if isinstance(result, (int, float)) and abs(result) < LARGEST_NUMBER else Unknown(_NOT_TOLD)


def _sum(left: Items, right: Items | tuple[Value, ...]) -> Value:
    if len(left) + len(right) > LONGEST_VALUE:
        return Unknown(_NOT_TOLD)
    joined = Items([*left, *right])
    joined.exact = left.exact and getattr(right, "exact", True)
    return joined


def holds(kind: ast.cmpop, left: Value, right: Value) -> bool | None:
    """Whether a comparison holds; None where that is not known."""
    if isinstance(kind, (ast.Is, ast.IsNot)):
        same = _is_same(left, right)
        return same if same is None or isinstance(kind, ast.Is) else not same
    if isinstance(kind, (ast.In, ast.NotIn)):
        inside = _is_in(left, right)
        return inside if inside is None or isinstance(kind, ast.In) else not inside
    if not (is_plain(left) and is_plain(right)):
        return None
    try:
        return bool(_COMPARED[type(kind)](left, right))
    except TypeError:
        return None


def _is_same(left: Value, right: Value) -> bool | None:
    if isinstance(left, (Unknown, Choice, Foreign)) or isinstance(right, (Unknown, Choice, Foreign)):
        return None
    if right is None or left is None or isinstance(right, bool):
        return left is right
    return None


def _is_in(left: Value, right: Value) -> bool | None:
    if not is_plain(left):
        return None
    if isinstance(right, str):
        return left in right if isinstance(left, str) else None
    if isinstance(right, (Items, Table, tuple)) and getattr(right, "exact", True):
        options = list(right)
        return left in options if all(is_plain(option) for option in options) else None
    if isinstance(right, Instance):
        return None
    return None


def is_number(value: Value) -> bool:
    """Whether a value is a number, True and False among them."""
    return isinstance(value, (int, float))


def is_plain(value: Value) -> bool:
    """A value that Python itself can compare: numbers, texts, None, and tuples of them."""
    if isinstance(value, tuple):
        return all(is_plain(each) for each in value)
    return value is None or isinstance(value, (bool, int, float, str))
