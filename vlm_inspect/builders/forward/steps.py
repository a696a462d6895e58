"""What a method uses, read from its source, and conditions on the attributes of a module."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from types import FunctionType
from typing import Any, Literal, Union

from msgspec import Struct

_TURNS = re.compile(r"(rotary|rope|rot_embed)", re.IGNORECASE)
_ALIBI = "alibi"
# read from a module or its weight without using it
_METADATA = frozenset({"dtype", "device", "shape", "in_features", "out_features", "config"})
_ACTIVATIONS = frozenset({"gelu", "silu", "relu", "mish"})
_MACHINERY = ("torch.", "transformers.modeling_")
_MISSING = object()
_PLAIN = (bool, int, float, str, tuple, list, dict, frozenset, set)


class Use(Struct, frozen=True):
    """A use of an attribute of the module, or of a function in its file."""

    name: str
    kind: Literal["attribute", "function"]


class Branch(Struct, frozen=True, eq=False):
    """The uses on both sides of a condition."""

    test: ast.expr
    then: tuple[Step, ...]
    otherwise: tuple[Step, ...]


Step = Union[Use, Branch]  # noqa: UP007 - evaluated at run time, where Python 3.10 needs it


def is_activation(name: str) -> bool:
    """Whether it is the name of one of torch's activation functions, which need no module."""
    return name in _ACTIVATIONS


def is_position_name(name: str) -> bool:
    """Whether a function or argument of that name adds positions to an attention."""
    return name == _ALIBI or bool(_TURNS.search(name))


@cache
def own_method(kind: type, name: str) -> FunctionType | None:
    """A class's own method; None if it is one that torch or transformers gives to all models."""
    attribute = inspect.getattr_static(kind, name, None)
    if isinstance(attribute, (staticmethod, classmethod, property)) or not callable(attribute):
        return None
    function = inspect.unwrap(attribute)
    if not isinstance(function, FunctionType) or (function.__module__ or "").startswith(_MACHINERY):
        return None
    return function


@cache
def steps_of(method: FunctionType) -> tuple[Step, ...]:
    """The steps of a method; none if its source is not available."""
    definition = function_definition(method)
    return tuple(_steps_of_all(definition.body)) if definition is not None else ()


def function_definition(function: FunctionType) -> ast.FunctionDef | None:
    """The syntax tree of a function; None if its source is not available."""
    try:
        node = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    except (OSError, TypeError, SyntaxError, ValueError, IndexError):
        return None
    return node if isinstance(node, ast.FunctionDef) else None


def _steps_of_all(nodes: Iterable[ast.AST]) -> Iterator[Step]:
    for node in nodes:
        yield from _steps(node)


def _steps(node: ast.AST) -> Iterator[Step]:
    """The steps of a syntax node, in the order in which Python evaluates them."""
    if isinstance(node, (ast.If, ast.IfExp)):
        yield from _steps(node.test)
        yield _branch(node)
    elif isinstance(node, ast.Call):  # arguments are evaluated before the call
        yield from _steps_of_all(node.args)
        yield from _steps_of_all(keyword.value for keyword in node.keywords)
        yield from _steps(node.func)
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
        yield Use(node.attr, "attribute")
    elif isinstance(node, ast.Attribute) and node.attr in _METADATA:
        return
    elif isinstance(node, ast.Attribute) and is_activation(node.attr):
        yield Use(node.attr, "function")
    elif isinstance(node, ast.Name):
        if is_position_name(node.id):
            yield Use(node.id, "function")
    elif isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)):
        yield from _steps(node.value) if node.value is not None else ()
    else:
        yield from _steps_of_all(ast.iter_child_nodes(node))


def _branch(node: ast.If | ast.IfExp) -> Branch:
    then = node.body if isinstance(node.body, list) else [node.body]
    otherwise = node.orelse if isinstance(node.orelse, list) else [node.orelse]
    return Branch(node.test, tuple(_steps_of_all(then)), tuple(_steps_of_all(otherwise)))


class UndecidedError(Exception):
    """A condition depends on something other than plain attributes of the module."""


def is_condition_true(test: ast.expr, module: Any) -> bool:
    """Whether a condition is true for a module. Raises UndecidedError if its attributes do not decide it."""
    return _plain_truth(_condition_value(test, module))


def _plain_truth(value: Any) -> bool:
    """The truth of a plain value; tensors and modules are not evaluated."""
    if value is None or isinstance(value, _PLAIN):
        return bool(value)
    raise UndecidedError


def _condition_value(test: ast.expr, module: Any) -> Any:
    if isinstance(test, ast.Constant):
        return test.value
    if isinstance(test, ast.Attribute):
        return _attribute_value(test, module)
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return not _plain_truth(_condition_value(test.operand, module))
    if isinstance(test, ast.BoolOp):
        return _bool_op_value(test, module)
    if isinstance(test, ast.Compare) and len(test.ops) == 1:
        return _comparison_value(test, module)
    raise UndecidedError


def _attribute_value(test: ast.Attribute, module: Any) -> Any:
    """The value of `self.use_rope` or `self.config.alibi`; `self.training` may change and decides nothing."""
    if test.attr == "training":
        raise UndecidedError
    if isinstance(test.value, ast.Name) and test.value.id == "self":
        holder = module
    elif isinstance(test.value, ast.Attribute):
        holder = _attribute_value(test.value, module)
    else:
        raise UndecidedError
    found = vars(holder).get(test.attr, _MISSING) if hasattr(holder, "__dict__") else _MISSING
    if found is _MISSING:
        found = getattr(holder, "_modules", {}).get(test.attr, _MISSING)
    if found is _MISSING:
        raise UndecidedError
    return found


def _bool_op_value(test: ast.BoolOp, module: Any) -> bool:
    """The value of `and` or `or`, if the known operands decide it."""
    is_and = isinstance(test.op, ast.And)
    known: list[bool] = []
    for part in test.values:
        with suppress(UndecidedError):
            known.append(_plain_truth(_condition_value(part, module)))
    if (is_and and not all(known)) or (not is_and and any(known)):
        return not is_and
    if len(known) < len(test.values):
        raise UndecidedError
    return is_and


def _comparison_value(test: ast.Compare, module: Any) -> bool:
    left, right = _condition_value(test.left, module), _condition_value(test.comparators[0], module)
    operation = test.ops[0]
    if isinstance(operation, (ast.Is, ast.IsNot)):
        return (left is right) is isinstance(operation, ast.Is)
    if isinstance(operation, (ast.Eq, ast.NotEq)) and isinstance(left, _PLAIN) and isinstance(right, _PLAIN):
        return (left == right) is isinstance(operation, ast.Eq)
    raise UndecidedError
