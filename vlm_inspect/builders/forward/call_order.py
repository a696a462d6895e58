"""The order in which a module's `forward` uses its children, read from its source and never run.

Modules are declared in any order. Only `forward` shows whether a norm comes before or after an attention, and
whether an attention applies rotary positions. A condition on the module itself (`if self.use_rope:`) is
evaluated for each module by its attributes.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from functools import cache
from types import FunctionType
from typing import TYPE_CHECKING, Any, Literal, Union

from msgspec import Struct

if TYPE_CHECKING:
    from torch import nn

_MAX_CALL_DEPTH = 4
_MOST_STEPS = 20_000
MIN_CHILDREN = 2
"""Fewer have no order."""
POSITION_CALL = re.compile(r"(?i:rotary|rope|rot_embed)|^alibi$")
"""The names of functions and modules that apply positions."""
# read from a module or its weight without using it
_METADATA = frozenset({"dtype", "device", "shape", "in_features", "out_features", "config"})
# torch's activation functions, which need no module
_ACTIVATIONS = frozenset({"gelu", "silu", "relu", "mish"})
_MACHINERY = ("torch.", "transformers.modeling_")
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


class UndecidedError(Exception):
    """A condition depends on something other than plain attributes of the module."""


Lookup = Callable[[Any, str], Any]
"""The attribute of a module or of a value in it, by name. Raises UndecidedError."""


class Module(Struct, frozen=True):
    """A module whose attributes decide conditions."""

    value: Any
    attribute: Lookup


class ClassSource:
    """The methods of one class, as syntax trees; `find` returns None for methods that all models have."""

    def __init__(self, find: Callable[[str], ast.FunctionDef | None]) -> None:
        self.find = find
        self._steps: dict[str, tuple[Step, ...]] = {}

    def order(self, members: Collection[str], module: Module, method: str = "forward") -> tuple[str, ...]:
        """The names that a method uses: members, and functions, in order and as often as they are used.

        Of a condition on the attributes of the module, only the side that is taken counts. Empty if `forward`
        is longer than that of any model.
        """
        uses = self.uses(method, module)
        return tuple(use.name for use in uses if use.kind != "attribute" or use.name in members)

    def uses(self, method: str, module: Module) -> list[Use]:
        """What a method and the methods that it calls use, in order; empty if that is too long."""
        try:
            return list(_Walk(self, module).uses(self.steps(method), method))
        except (_TooLongError, RecursionError):
            return []

    def steps(self, method: str) -> tuple[Step, ...]:
        """The steps of a method, without those of the methods that it calls."""
        if method not in self._steps:
            definition = self.find(method)
            self._steps[method] = tuple(_steps_of_all(definition.body)) if definition is not None else ()
        return self._steps[method]


class _TooLongError(Exception):
    """A `forward` takes more steps than that of any published model."""


class _Walk:
    """One walk through `forward` and the methods of its class that it calls."""

    def __init__(self, source: ClassSource, module: Module) -> None:
        self._source = source
        self._module = module
        self._left = _MOST_STEPS

    def uses(self, steps: Iterable[Step], caller: str, depth: int = _MAX_CALL_DEPTH) -> Iterator[Use]:
        for step in steps:
            self._left -= 1
            if self._left < 0:
                raise _TooLongError
            if isinstance(step, Branch):
                for side in self._sides(step):
                    yield from self.uses(side, caller, depth)
            elif step.kind == "attribute" and step.name != caller and depth and self._source.find(step.name):
                yield from self.uses(self._source.steps(step.name), step.name, depth - 1)
            else:
                yield step

    def _sides(self, step: Branch) -> tuple[tuple[Step, ...], ...]:
        try:
            return (step.then if _is_condition_true(self._module, step.test) else step.otherwise,)
        except UndecidedError:
            return step.then, step.otherwise


def read_forward_order(module: nn.Module) -> tuple[str, ...]:
    """The names that a module's `forward` uses, in order.

    Children, own parameters, activation functions, and functions that apply positions, as often as they are
    used. Of a branch on the module's own attributes only the side that is taken counts. Empty for whole
    models, and where the order does not matter: without norms, functions and positions.
    """
    kind: Any = type(module)
    children = module._modules  # noqa: SLF001 - named_children() leaves shared ones out
    if len(children) < MIN_CHILDREN or hasattr(kind, "config_class"):
        return ()
    if not (_has_norm(module) or _applies_positions(kind)):
        return ()
    members = {*children, *module._parameters}  # noqa: SLF001 - as above
    return _class_source(kind).order(members, Module(module, _attribute))


def read_decoder_half(module: nn.Module) -> tuple[str, ...]:
    """The children of a codec that its `decode` uses and its `encode` does not; empty for other modules."""
    kind: Any = type(module)
    if not (_own_method(kind, "encode") and _own_method(kind, "decode")):
        return ()
    children, source = module._modules, _class_source(kind)  # noqa: SLF001 - as above
    encodes, decodes = (set(source.order(children, Module(module, _attribute), name)) for name in ("encode", "decode"))
    return tuple(name for name in children if name in decodes - encodes)


def _has_norm(module: nn.Module) -> bool:
    """Whether a norm is among the children or their children, as in BERT."""
    children = [child for child in module._modules.values() if child is not None]  # noqa: SLF001 - as above
    below = [each for child in children for each in child._modules.values()]  # noqa: SLF001 - as above
    return any("Norm" in type(each).__name__ for each in (*children, *below))


@cache
def _applies_positions(kind: type) -> bool:
    method = _own_method(kind, "forward")
    names = (*method.__code__.co_names, *method.__code__.co_varnames) if method is not None else ()
    return any(POSITION_CALL.search(name) or name in _ACTIVATIONS or _own_method(kind, name) for name in names)


@cache
def _class_source(kind: type) -> ClassSource:
    def find(name: str) -> ast.FunctionDef | None:
        method = _own_method(kind, name)
        return function_definition(method) if method is not None else None

    return ClassSource(find)


def _attribute(holder: Any, name: str) -> Any:
    """An attribute of a live module or configuration; no property is run."""
    attributes = getattr(holder, "__dict__", {})
    known = attributes if name in attributes else getattr(holder, "_modules", {})
    if name not in known:
        raise UndecidedError
    return known[name]


@cache
def _own_method(kind: type, name: str) -> FunctionType | None:
    """A class's own method; None if it is one that torch or transformers gives to all models."""
    found = inspect.getattr_static(kind, name, None)
    is_method = not isinstance(found, (staticmethod, classmethod, property))
    return undecorated(found, _MACHINERY) if is_method else None


def undecorated(found: object, machinery: tuple[str, ...]) -> FunctionType | None:
    """A function without its decorators; None if its module is one of the machinery of all models."""
    function = inspect.unwrap(found) if callable(found) else None
    if not isinstance(function, FunctionType) or (function.__module__ or "").startswith(machinery):
        return None
    return function


@cache
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
        sides = (side if isinstance(side, list) else [side] for side in (node.body, node.orelse))
        then, otherwise = (tuple(_steps_of_all(side)) for side in sides)
        yield Branch(node.test, then, otherwise)
    elif isinstance(node, ast.Call):  # arguments are evaluated before the call
        yield from _steps_of_all(node.args)
        yield from _steps_of_all(keyword.value for keyword in node.keywords)
        yield from _steps(node.func)
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
        yield Use(node.attr, "attribute")
    elif isinstance(node, ast.Attribute) and node.attr in _METADATA:
        return
    elif isinstance(node, ast.Attribute) and node.attr in _ACTIVATIONS:
        yield Use(node.attr, "function")
    elif isinstance(node, ast.Name):
        if POSITION_CALL.search(node.id):
            yield Use(node.id, "function")
    elif isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)):
        yield from _steps(node.value) if node.value is not None else ()
    else:
        yield from _steps_of_all(ast.iter_child_nodes(node))


def _is_condition_true(module: Module, test: ast.expr) -> bool:
    """Whether a condition is true for a module; tensors and modules are not evaluated."""
    value = _condition_value(test, module)
    if value is None or isinstance(value, _PLAIN):
        return bool(value)
    raise UndecidedError


def _condition_value(test: ast.expr, module: Module) -> Any:
    if isinstance(test, ast.Constant):
        return test.value
    if isinstance(test, ast.Attribute):
        return _attribute_value(test, module)
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return not _is_condition_true(module, test.operand)
    if isinstance(test, ast.BoolOp):
        return _bool_op_value(test, module)
    if isinstance(test, ast.Compare) and len(test.ops) == 1:
        return _comparison_value(test, module)
    raise UndecidedError


def _attribute_value(test: ast.Attribute, module: Module) -> Any:
    """The value of `self.use_rope` or `self.config.alibi`; `self.training` may change and decides nothing."""
    if test.attr == "training":
        raise UndecidedError
    if isinstance(test.value, ast.Name) and test.value.id == "self":
        holder = module.value
    elif isinstance(test.value, ast.Attribute):
        holder = _attribute_value(test.value, module)
    else:
        raise UndecidedError
    return module.attribute(holder, test.attr)


def _bool_op_value(test: ast.BoolOp, module: Module) -> bool:
    """The value of `and` or `or`, if the known operands decide it."""
    is_and = isinstance(test.op, ast.And)
    known: list[bool] = []
    for part in test.values:
        with suppress(UndecidedError):
            known.append(_is_condition_true(module, part))
    if (is_and and not all(known)) or (not is_and and any(known)):
        return not is_and
    if len(known) < len(test.values):
        raise UndecidedError
    return is_and


def _comparison_value(test: ast.Compare, module: Module) -> bool:
    left, right = _condition_value(test.left, module), _condition_value(test.comparators[0], module)
    operation = test.ops[0]
    if isinstance(operation, (ast.Is, ast.IsNot)):
        return (left is right) is isinstance(operation, ast.Is)
    if isinstance(operation, (ast.Eq, ast.NotEq)) and isinstance(left, _PLAIN) and isinstance(right, _PLAIN):
        return (left == right) is isinstance(operation, ast.Eq)
    raise UndecidedError
