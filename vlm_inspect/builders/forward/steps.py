"""A method as it is written: what it uses of its object, and which functions turn or activate."""

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
# what is read off a module or its weight without using it
_FACTS = frozenset({"dtype", "device", "shape", "in_features", "out_features", "config"})
_ACTIVATIONS = frozenset({"gelu", "silu", "relu", "mish"})
_MACHINERY = ("torch.", "transformers.modeling_")


class Use(Struct, frozen=True):
    """A name in the order of evaluation: an attribute of the object, or a function of its file."""

    name: str
    kind: Literal["attribute", "function"]


class Branch(Struct, frozen=True, eq=False):
    """What is used on either side of a condition."""

    test: ast.expr
    then: tuple[Step, ...]
    otherwise: tuple[Step, ...]


Step = Union[Use, Branch]  # noqa: UP007 - evaluated at run time, where 3.10 knows no other way to name itself


def is_activation(name: str) -> bool:
    """Whether torch has an activation function of that name: one that no module need stand for."""
    return name in _ACTIVATIONS


def tells_position(name: str) -> bool:
    """Whether a function or an argument of that name brings positions into an attention."""
    return name == _ALIBI or bool(_TURNS.search(name))


@cache
def own_method(kind: type, name: str) -> FunctionType | None:
    """A class's own method; None for what torch and transformers give to every model."""
    held = inspect.getattr_static(kind, name, None)
    if isinstance(held, (staticmethod, classmethod, property)) or not callable(held):
        return None
    found = inspect.unwrap(held)
    if not isinstance(found, FunctionType) or (found.__module__ or "").startswith(_MACHINERY):
        return None
    return found


@cache
def steps_of(method: FunctionType) -> tuple[Step, ...]:
    """What a method uses; nothing where its source is not at hand."""
    definition = definition_of(method)
    return tuple(_all(definition.body)) if definition is not None else ()


def definition_of(function: FunctionType) -> ast.FunctionDef | None:
    """The function as it is written; None where its source is not available."""
    try:
        written = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    except (OSError, TypeError, SyntaxError, ValueError, IndexError):
        return None
    return written if isinstance(written, ast.FunctionDef) else None


def _all(nodes: Iterable[ast.AST]) -> Iterator[Step]:
    for node in nodes:
        yield from _steps(node)


def _steps(node: ast.AST) -> Iterator[Step]:
    """What a part of the source uses, in the order in which Python evaluates it."""
    if isinstance(node, (ast.If, ast.IfExp)):
        yield from _steps(node.test)
        yield _branch(node)
    elif isinstance(node, ast.Call):  # its arguments come before what is called with them
        yield from _all(node.args)
        yield from _all(keyword.value for keyword in node.keywords)
        yield from _steps(node.func)
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
        yield Use(node.attr, "attribute")
    elif isinstance(node, ast.Attribute) and node.attr in _FACTS:
        return
    elif isinstance(node, ast.Attribute) and is_activation(node.attr):
        yield Use(node.attr, "function")
    elif isinstance(node, ast.Name):
        if tells_position(node.id):
            yield Use(node.id, "function")
    elif isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)):
        yield from _steps(node.value) if node.value is not None else ()
    else:
        yield from _all(ast.iter_child_nodes(node))


def _branch(node: ast.If | ast.IfExp) -> Branch:
    then = node.body if isinstance(node.body, list) else [node.body]
    otherwise = node.orelse if isinstance(node.orelse, list) else [node.orelse]
    return Branch(node.test, tuple(_all(then)), tuple(_all(otherwise)))


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
