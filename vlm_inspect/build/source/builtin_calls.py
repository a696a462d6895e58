"""The few functions of Python that constructors compute sizes with, on values of the text alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from vlm_inspect.build.source.containers import table
from vlm_inspect.build.source.object_calls import ON_OBJECTS
from vlm_inspect.build.source.operators import LARGEST_NUMBER
from vlm_inspect.build.source.rounds import items_of
from vlm_inspect.build.source.values import Foreign, Instance, Items, Table, Unknown, Value

if TYPE_CHECKING:
    from vlm_inspect.build.source.machine import Machine

_NOT_TOLD = Unknown("the text does not tell it")
_MATHEMATICS: Mapping[str, Callable[[float], float]] = {
    "sqrt": math.sqrt,
    "ceil": math.ceil,
    "floor": math.floor,
    "log2": math.log2,
    "log": math.log,
}


def call(machine: Machine, name: str, args: Sequence[Value], named: Mapping[str, Value]) -> Value:
    """A call of one of Python's own functions."""
    if name in ON_OBJECTS:
        return ON_OBJECTS[name](machine, args)
    if name == "dict":
        return table(args, named)
    if any(isinstance(each, (Unknown, Foreign)) for each in args):
        return next((each for each in args if isinstance(each, Unknown)), _NOT_TOLD)
    handler = _ON_VALUES.get(name)
    try:
        return handler(*args) if handler and not named else _NOT_TOLD
    except (TypeError, ValueError, ArithmeticError):
        return _NOT_TOLD


def mathematics(name: str, args: Sequence[Value]) -> Value:
    """`math.sqrt(x)` and its kin."""
    function = _MATHEMATICS.get(name)
    if function is None or len(args) != 1 or not isinstance(args[0], (int, float)):
        return _NOT_TOLD
    try:
        return function(args[0])
    except (ValueError, OverflowError):
        return _NOT_TOLD


# --- functions of objects ----------------------------------------------------------------------------


def _length(value: Value) -> Value:
    known = isinstance(value, (Items, Table, tuple, str, range)) and getattr(value, "exact", True)
    if isinstance(value, Instance):
        held = items_of(value)
        return len(held) if held is not None else _NOT_TOLD
    return len(value) if known else _NOT_TOLD


def _range(*args: Value) -> Value:
    sizes = all(type(each) is int and abs(each) < LARGEST_NUMBER for each in args)
    return range(*args) if sizes else _NOT_TOLD


def _listed(value: Value = ()) -> Value:
    held = items_of(value)
    if held is None:
        items = Items(value if isinstance(value, Items) else [])
        items.exact = False
        return items
    return Items(held)


def _pairs(*columns: Value) -> Value:
    held = [items_of(column) for column in columns]
    if any(column is None for column in held):
        return _NOT_TOLD
    return Items(zip(*[column for column in held if column is not None], strict=False))


def _numbered(value: Value, start: Value = 0) -> Value:
    held = items_of(value)
    return Items(enumerate(held, start)) if held is not None and type(start) is int else _NOT_TOLD


def _reversed(value: Value) -> Value:
    held = items_of(value)
    return Items(reversed(held)) if held is not None else _NOT_TOLD


def _numbers(function: Callable[..., Value]) -> Callable[..., Value]:
    """A function of numbers, given one by one or in a list."""

    def of(*args: Value) -> Value:
        held = items_of(args[0]) if len(args) == 1 else list(args)
        plain = held is not None and all(isinstance(each, (int, float)) for each in held)
        result = function(held) if plain else _NOT_TOLD
        return result if isinstance(result, Unknown) or abs(result) < LARGEST_NUMBER else _NOT_TOLD

    return of


def _number(kind: Callable[[Value], Value]) -> Callable[[Value], Value]:
    short = 30

    def of(value: Value) -> Value:
        plain = isinstance(value, (int, float)) or (isinstance(value, str) and len(value) < short)
        return kind(value) if plain else _NOT_TOLD

    return of


_ON_VALUES: Mapping[str, Callable[..., Value]] = {
    "len": _length,
    "range": _range,
    "int": _number(int),
    "float": _number(float),
    "bool": _number(bool),
    "str": lambda value: str(value)[:1000] if isinstance(value, (str, int, float)) else _NOT_TOLD,
    "abs": _number(abs),
    "round": _number(round),
    "min": _numbers(min),
    "max": _numbers(max),
    "sum": _numbers(sum),
    "list": _listed,
    "tuple": lambda value=(): tuple(held) if (held := items_of(value)) is not None else _NOT_TOLD,
    "zip": _pairs,
    "enumerate": _numbered,
    "reversed": _reversed,
}
