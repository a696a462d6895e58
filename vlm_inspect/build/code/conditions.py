"""Conditions on a module's own attributes, decided without running anything of it."""

from __future__ import annotations

import ast
from contextlib import suppress
from typing import Any

_MISSING = object()
_PLAIN = (bool, int, float, str, tuple, list, dict, frozenset, set)


class UndecidedError(Exception):
    """A condition reads something else than the module's plain attributes."""


def decided(test: ast.expr, module: Any) -> bool:
    """Whether a condition holds of a module. Raises UndecidedError where its attributes do not say."""
    return _truth(_value(test, module))


def _truth(value: Any) -> bool:
    """The truth of a plain value: what a tensor or a module is worth is not for looking at."""
    if value is None or isinstance(value, _PLAIN):
        return bool(value)
    raise UndecidedError


def _value(test: ast.expr, module: Any) -> Any:
    if isinstance(test, ast.Constant):
        return test.value
    if isinstance(test, ast.Attribute):
        return _attribute(test, module)
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return not _truth(_value(test.operand, module))
    if isinstance(test, ast.BoolOp):
        return _all_or_any(test, module)
    if isinstance(test, ast.Compare) and len(test.ops) == 1:
        return _compared(test, module)
    raise UndecidedError


def _attribute(test: ast.Attribute, module: Any) -> Any:
    """`self.use_rope`, `self.config.alibi`; what differs while a model runs decides nothing."""
    if test.attr == "training":
        raise UndecidedError
    if isinstance(test.value, ast.Name) and test.value.id == "self":
        holder = module
    elif isinstance(test.value, ast.Attribute):
        holder = _attribute(test.value, module)
    else:
        raise UndecidedError
    found = vars(holder).get(test.attr, _MISSING) if hasattr(holder, "__dict__") else _MISSING
    if found is _MISSING:
        found = getattr(holder, "_modules", {}).get(test.attr, _MISSING)
    if found is _MISSING:
        raise UndecidedError
    return found


def _all_or_any(test: ast.BoolOp, module: Any) -> bool:
    """`and`, `or`: decided where the parts that are known decide it."""
    is_and = isinstance(test.op, ast.And)
    known: list[bool] = []
    for part in test.values:
        with suppress(UndecidedError):
            known.append(_truth(_value(part, module)))
    if (is_and and not all(known)) or (not is_and and any(known)):
        return not is_and
    if len(known) < len(test.values):
        raise UndecidedError
    return is_and


def _compared(test: ast.Compare, module: Any) -> bool:
    left, right = _value(test.left, module), _value(test.comparators[0], module)
    operation = test.ops[0]
    if isinstance(operation, (ast.Is, ast.IsNot)):
        return (left is right) is isinstance(operation, ast.Is)
    if isinstance(operation, (ast.Eq, ast.NotEq)) and isinstance(left, _PLAIN) and isinstance(right, _PLAIN):
        return (left == right) is isinstance(operation, ast.Eq)
    raise UndecidedError
