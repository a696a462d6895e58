"""Arithmetic, comparison, truth and iteration of values, within limits."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vlm_inspect.builders.source.values import (
    ANY_NAME,
    Choice,
    External,
    Instance,
    Items,
    NamePattern,
    Parameter,
    Spread,
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
_LONGEST_NAME = 200
_MOST_EXAMPLES = 256
_PERCENT = re.compile(r"%[dis]")
BRACES = re.compile(r"\{\}")
"""The places of `str.format`."""


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
    """Arithmetic of numbers, concatenation of lists and strings, and `template % values`."""
    if any(isinstance(each, (str, NamePattern)) for each in (left, right)):
        return _string_operation(kind, left, right)
    if isinstance(left, Items):
        return _list_operation(kind, left, right)
    if isinstance(left, Unknown) or isinstance(right, Unknown):
        return left if isinstance(left, Unknown) else right
    compute = _ARITHMETIC.get(kind)
    if compute is None or not (is_number(left) and is_number(right)):
        return Unknown()
    try:
        return bounded(compute(left, right))
    except (ArithmeticError, ValueError):
        return Unknown()


def _string_operation(kind: type[ast.operator], left: Value, right: Value) -> Value:
    if kind is ast.Mod and isinstance(left, str):
        return filled(left, _PERCENT, right if isinstance(right, tuple) else (right,))
    return joined([left, right]) if kind is ast.Add else Unknown()


def bounded(number: Value) -> Value:
    """The number, or unknown if it is too large."""
    return number if abs(number) < LARGEST_NUMBER else Unknown()


def _list_operation(kind: type[ast.operator], left: Items, right: Value) -> Value:
    if kind is ast.Add and isinstance(right, (Items, tuple)) and len(left) + len(right) <= LONGEST_VALUE:
        return Items([*left, *right], exact=left.exact and getattr(right, "exact", True))
    if kind is ast.Mult and type(right) is int and 0 <= right * len(left) <= LONGEST_VALUE:
        return Items(list(left) * right, exact=left.exact)
    if kind is ast.Mult and isinstance(right, Unknown):
        return Items(left, exact=False)
    return right if isinstance(right, Unknown) else Unknown()


def joined(parts: Sequence[Value]) -> Value:
    """The string that these parts make; a pattern if some of them are unknown."""
    texts: list[str] = []
    for part in parts:
        if isinstance(part, Unknown):
            texts.append(part.text if isinstance(part, NamePattern) else ANY_NAME)
        elif isinstance(part, (str, int, float)):
            texts.append(str(part)[:LONGEST_VALUE])
        else:
            return Unknown()
    is_pattern = any(isinstance(part, Unknown) for part in parts)
    if sum(map(len, texts)) > (_LONGEST_NAME if is_pattern else LONGEST_VALUE):
        return Unknown()
    text = "".join(texts)
    return NamePattern(text=text) if is_pattern else text


def filled(template: str, places: re.Pattern[str], values: Sequence[Value]) -> Value:
    """`template % values` and `template.format(*values)`, as far as the places are plain ones."""
    fixed = places.split(template)
    if len(fixed) != len(values) + 1 or any(mark in text for text in fixed for mark in "%{}"):
        return Unknown()
    pairs = zip(fixed[1:], values, strict=True)
    return joined([fixed[0], *(each for text, value in pairs for each in (value, text))])


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
        return None if any(isinstance(each, Spread) for each in value) else list(value)
    return None


def examples_of(value: Value) -> list[Value]:
    """Values that the items of an iterable of unknown length may have; none if nothing is known of them."""
    if isinstance(value, Instance) and value.class_name in {"ModuleList", "Sequential"}:
        names = (name for name in value.attributes if name.isdecimal() or ANY_NAME in name)
        return [value.attributes[name] for name in names]
    if isinstance(value, Table):
        return [NamePattern(text=key) if isinstance(key, str) and ANY_NAME in key else key for key in value]
    if isinstance(value, Spread):
        return list(value.examples)
    if isinstance(value, (Items, tuple)):
        if len(value) > _MOST_EXAMPLES:
            return [Unknown()]
        spread = ((each.examples if isinstance(each, Spread) else [each]) for each in value)
        return [each for inner in spread for each in inner]
    return []


def example_of(value: Value, reason: str) -> Value:
    """The item of an iterable of unknown length."""
    examples = examples_of(value)
    unknown = value if isinstance(value, Unknown) else Unknown(reason)
    return Choice.of(examples, reason) if examples else unknown


def table_of(source: Value = None, /, **entries: Value) -> Value:
    """`dict(source, **entries)` of a dict or of pairs."""
    exact = ANY_NAME not in entries
    if source is None or isinstance(source, Table):
        held = source or Table()
        return Table({**entries, **held}, exact=held.exact and exact)
    if not isinstance(source, Items):
        return source if isinstance(source, Unknown) else Unknown()
    made: dict[Any, Value] = {**entries}
    for pair in source:
        is_pair = isinstance(pair, (tuple, Items)) and len(pair) == 2  # noqa: PLR2004 - key, value
        key = pair[0] if is_pair else Unknown()
        exact = exact and is_plain(key)
        if is_plain(key) or isinstance(key, NamePattern):
            made[key.text if isinstance(key, NamePattern) else key] = pair[1]
    return Table(made, exact=source.exact and exact)
