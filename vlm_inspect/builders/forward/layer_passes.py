"""How often a module's `forward` runs each of its layers, read from its source and never run.

Most models run each layer once. Others run a slice of them several times (recurrent depth), share one layer among
many (ALBERT), or call a whole stack in a loop. The loops of `forward` are followed with the numbers of the
configuration; what depends on the data counts once.
"""

from __future__ import annotations

import ast
import dis
import inspect
import operator
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from vlm_inspect.builders.forward.call_order import function_definition, undecorated

if TYPE_CHECKING:
    from torch import nn

_MACHINERY = ("torch.", "transformers.modeling_")
_MOST_ITERATIONS = 10_000
_LOOPS = {code for name, code in dis.opmap.items() if name in {"FOR_ITER", "JUMP_ABSOLUTE"} or "BACKWARD" in name}
_TAKE_LISTS = frozenset({"len", "enumerate", "zip", "reversed", "range"})
_CALLS = frozenset({"__call__", "forward"})
_DATA = frozenset({"shape", "size", "ndim", "dim"})
_OPERATORS: Mapping[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Mod: operator.mod,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.USub: operator.neg,
    ast.Not: operator.not_,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda one, all_: one in all_,
}
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {"int": int, "len": len, "max": max, "min": min, "range": range}
# values that the source does not tell: from the data, or from the caller of forward
_ANY, _ARGUMENT = object(), object()


class _Layers(tuple[tuple[str, int], ...]):
    """Some layers of a list: its name and an index for each."""

    __slots__ = ()


class _UndecidedError(Exception):
    """A value depends on more than numbers of the module and of its configuration."""


def read_passes(module: nn.Module) -> dict[str, tuple[int | None, ...]]:
    """How often a module's `forward` runs the children that have layers: a number for each layer of a list, else one.

    Children that are not mentioned run once. None is a number that the source and the configuration do not decide.
    """
    kind: Any = type(module)
    forward = _forward_with_loops(kind)
    if forward is None:
        return {}
    counter = _Counter(module)
    if not counter.with_layers:
        return {}
    arguments = (*forward.args.posonlyargs, *forward.args.args, *forward.args.kwonlyargs)
    try:
        counter.run_once(forward.body, {each.arg: _ARGUMENT for each in arguments if each.arg != "self"})
    except _UndecidedError:  # more iterations than a model has layers
        return {}
    return counter.passes()


@cache
def _forward_with_loops(kind: type) -> ast.FunctionDef | None:
    """A class's own `forward`, if it can run a child more than once, or only some of a list."""
    method = undecorated(inspect.getattr_static(kind, "forward", None), _MACHINERY)
    # most have no loop: they need not be parsed
    has_loop = method is not None and _LOOPS.intersection(method.__code__.co_code[::2])
    definition = function_definition(method) if method is not None and has_loop else None
    if definition is None:
        return None
    loops = [node for node in ast.walk(definition) if isinstance(node, (ast.For, ast.While))]
    repeats = any(isinstance(node, ast.While) or "range(" in ast.unparse(node.iter) for node in loops)
    slices = any(
        isinstance(node, ast.Slice) for loop in loops if isinstance(loop, ast.For) for node in ast.walk(loop.iter)
    )
    return definition if repeats or slices or len(loops) > 1 else None


class _Counter:
    """Counts how often statements run the children of a module."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        children = module._modules  # noqa: SLF001 - named_children() leaves shared ones out
        # the children that are lists of layers, or hold one
        self.with_layers = {
            name for name, child in children.items() if child is not None and any(map(_is_list, child.modules()))
        }
        self._lists = {name: len(child) for name, child in children.items() if _is_list(child)}
        self._counts: Counter[tuple[str, int]] = Counter()
        self._unknown: set[str] = set()
        self._unread: set[str] = set()
        self._used: set[tuple[str, int]] = set()
        self._iteration_of: dict[tuple[str, int], set[tuple[str, int]]] = {}
        self._iterations = 0

    def passes(self) -> dict[str, tuple[int | None, ...]]:
        """The result: only children that do not simply run once."""
        found: dict[str, tuple[int | None, ...]] = {}
        for name in self.with_layers & {name for name, _ in self._counts} - self._unread:
            count = self._lists.get(name, 1)
            each = tuple(None if name in self._unknown else self._counts[name, index] for index in range(count))
            if set(each) != {1}:
                found[name] = each
        return found

    def run_once(self, body: Iterable[ast.stmt], names: dict[str, Any], item: Any = None) -> None:
        """Run statements as one iteration, over an item of a loop: what they use several times in a row runs once."""
        self._iterations += 1
        if self._iterations > _MOST_ITERATIONS:
            raise _UndecidedError
        outer, self._used = self._used, set()
        for part in item if isinstance(item, tuple) and not isinstance(item, _Layers) else (item,):
            self._iteration_of |= dict.fromkeys(part if isinstance(part, _Layers) else (), self._used)
        self._run(body, names)
        self._counts.update(self._used)
        self._used = outer

    def _run(self, body: Iterable[ast.stmt], names: dict[str, Any]) -> None:
        for statement in body:
            if isinstance(statement, ast.For):
                self._for(statement, names)
            elif isinstance(statement, ast.While):
                self._note_unknown(statement, statement.test, names)
                _forget(statement, names)
                self.run_once(statement.body, names)
            elif isinstance(statement, ast.If):
                self._if(statement, names)
            elif isinstance(statement, ast.With):
                self._run(statement.body, names)
            else:
                self._use(statement, names)
                self._assign(statement, names)

    def _for(self, loop: ast.For, names: dict[str, Any]) -> None:
        try:
            items = list(self._items(loop.iter, names))
        except _UndecidedError:
            self._note_unknown(loop, loop.iter, names)
            _forget(loop, names)
            self.run_once(loop.body, names)
            return
        for item in items:
            _bind(loop.target, item, names)
            self.run_once(loop.body, names, item)

    def _if(self, branch: ast.If, names: dict[str, Any]) -> None:
        self._use(branch.test, names)
        try:
            self._run(branch.body if self._value(branch.test, names) else branch.orelse, names)
        except _UndecidedError:
            other = dict(names)
            # a child that runs once on one side may be the one that runs once before or after
            runs = self._runs_of(branch.body, names) | self._runs_of(branch.orelse, other)  # the larger of both
            self._used |= {child for child, count in runs.items() if count == 1}
            self._counts.update({child: count for child, count in runs.items() if count > 1})
            for name in names.keys() & other.keys():
                if names[name] != other[name]:
                    names[name] = _ANY

    def _runs_of(self, body: Iterable[ast.stmt], names: dict[str, Any]) -> Counter[tuple[str, int]]:
        """How often statements run each child, without counting them."""
        outer = self._counts, self._used
        self._counts, self._used = Counter(), set()
        self._run(body, names)
        runs = self._counts + Counter(self._used)
        self._counts, self._used = outer
        return runs

    def _note_unknown(self, loop: ast.For | ast.While, times: ast.expr, names: Mapping[str, Any]) -> None:
        """How often a loop repeats its children is unknown if the caller decides it, and not the data."""
        repeats = isinstance(loop, ast.While) or _is_range(times)
        if repeats and not _is_data(times, names) and _mentions(times, names, _ARGUMENT):
            calls = (_without_call(each.func) for each in ast.walk(loop) if isinstance(each, ast.Call))
            self._unknown |= {name for part in calls if (name := _own_name(part)) is not None}
            self._unknown |= self._children_in(loop) & self._lists.keys()

    def _assign(self, statement: ast.stmt, names: dict[str, Any]) -> None:
        if isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
            value = ast.BinOp(ast.Name(statement.target.id), statement.op, statement.value)
            _bind(statement.target, self._known(value, names), names)
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                _bind(target, self._known(statement.value, names), names)

    def _known(self, node: ast.expr, names: Mapping[str, Any]) -> Any:
        with suppress(_UndecidedError):
            return _ANY if _is_data(node, names) else self._value(node, names)
        return _ARGUMENT if _mentions(node, names, _ARGUMENT) else _ANY

    def _use(self, node: ast.AST, names: Mapping[str, Any]) -> None:
        """Note the children that a statement calls, or gives to a function that calls them."""
        for each in ast.walk(node):
            if isinstance(each, ast.Call):
                if isinstance(each.func, ast.Name) and each.func.id in _TAKE_LISTS:
                    continue
                # an attribute of a layer is not the layer
                given = [part for part in each.args if not isinstance(part, ast.Attribute) or self._is_child(part)]
                for part in (each.func, *given):
                    layer = self._holder(_without_call(part), names)
                    if layer is not None:  # its parts may run in a loop of their own
                        self._iteration_of.get(layer, self._used).add(layer)
                    else:
                        self._used.update(self._called(part, names))
            elif isinstance(each, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
                for loop in each.generators:
                    if isinstance(loop.iter, (ast.Attribute, ast.Subscript, ast.Call)) and _calls_target(
                        each, loop.target
                    ):
                        self._unread |= self._children_in(loop.iter)

    def _called(self, node: ast.expr, names: Mapping[str, Any]) -> Iterable[tuple[str, int]]:
        """The child or the layer that a called or given value is."""
        name = _own_name(_without_call(node))
        if name is not None and name not in self._lists:
            return [(name, 0)]
        try:
            value = self._value(_without_call(node), names)
        except _UndecidedError:
            self._unread |= self._children_in(node) & self._lists.keys()
            return []
        if not isinstance(value, _Layers):
            return []
        if len(value) > 1:  # what a function does with several layers is not read
            self._unread |= {name for name, _ in value}
        return value

    def _holder(self, node: ast.expr, names: Mapping[str, Any]) -> tuple[str, int] | None:
        """The layer that a called part belongs to: `layer` of `layer.self_attn` and of `layer.blocks[0]`."""
        root = node
        while isinstance(root, (ast.Attribute, ast.Subscript)):
            root = root.value
        value = names.get(root.id) if isinstance(root, ast.Name) and root is not node else None
        return value[0] if isinstance(value, _Layers) and len(value) == 1 else None

    def _is_child(self, node: ast.expr) -> bool:
        """Whether an argument is `self.layers`, `self.layer` or `layer.__call__`."""
        return _own_name(node) in self._module._modules or _without_call(node) is not node  # noqa: SLF001 - as above

    def _children_in(self, node: ast.AST) -> set[str]:
        return {name for each in ast.walk(node) if (name := _own_name(each)) in self._module._modules and name}  # noqa: SLF001

    def _items(self, node: ast.expr, names: Mapping[str, Any]) -> Iterable[Any]:
        """What a loop runs over: numbers, or single layers."""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            if node.func.id == "enumerate":
                return list(enumerate(self._items(node.args[0], names)))
            if node.func.id == "reversed":
                return list(reversed(list(self._items(node.args[0], names))))
            if node.func.id == "zip":
                return self._zipped(node.args, names)
        value = self._value(node, names)
        if isinstance(value, _Layers):
            return [_Layers((layer,)) for layer in value]
        if isinstance(value, (range, tuple, list)) and len(value) <= _MOST_ITERATIONS:
            return value
        raise _UndecidedError

    def _zipped(self, parts: Sequence[ast.expr], names: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Layers next to data of which there is one for each."""
        columns = [self._items_or_none(part, names) for part in parts]
        lengths = [len(column) for column in columns if column is not None]
        if not lengths:
            raise _UndecidedError
        return list(zip(*(column or [_ANY] * min(lengths) for column in columns), strict=False))

    def _items_or_none(self, node: ast.expr, names: Mapping[str, Any]) -> list[Any] | None:
        with suppress(_UndecidedError):
            return list(self._items(node, names))
        return None

    def _value(self, node: ast.expr, names: Mapping[str, Any]) -> Any:
        try:
            value = self._evaluated(node, names)
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise _UndecidedError from error
        if value is _ANY or value is _ARGUMENT:
            raise _UndecidedError
        return value

    def _evaluated(self, node: ast.expr, names: Mapping[str, Any]) -> Any:  # noqa: C901, PLR0911 - a line for each kind of expression
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            return names[node.id]
        if isinstance(node, ast.Attribute):
            return self._attribute(node, names)
        if isinstance(node, ast.Subscript):
            return self._item(node, names)
        if isinstance(node, ast.BinOp):
            return _OPERATORS[type(node.op)](self._number(node.left, names), self._number(node.right, names))
        if isinstance(node, ast.UnaryOp):
            return _OPERATORS[type(node.op)](self._value(node.operand, names))
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            return _OPERATORS[type(node.ops[0])](
                self._value(node.left, names), self._value(node.comparators[0], names)
            )
        if isinstance(node, ast.BoolOp):
            values = (self._value(each, names) for each in node.values)
            return all(values) if isinstance(node.op, ast.And) else any(values)
        if isinstance(node, ast.IfExp):
            return self._value(node.body if self._value(node.test, names) else node.orelse, names)
        if isinstance(node, ast.Tuple):
            return tuple(self._value(each, names) for each in node.elts)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
            return _FUNCTIONS[node.func.id](*(self._value(each, names) for each in node.args))
        raise _UndecidedError

    def _number(self, node: ast.expr, names: Mapping[str, Any]) -> int | float:
        value = self._value(node, names)
        if isinstance(value, (int, float)):  # no text and no list, which a number could make very long
            return value
        raise _UndecidedError

    def _attribute(self, node: ast.Attribute, names: Mapping[str, Any]) -> Any:
        """A list of layers, a number of the module (`self.num_blocks`) or of its configuration."""
        name = _own_name(node)
        if name is not None and name in self._lists:
            return _Layers((name, index) for index in range(self._lists[name]))
        if name is not None and name != "training":
            return vars(self._module)[name] if name in vars(self._module) else self._module._modules[name]  # noqa: SLF001
        holder: Any = self._value(node.value, names) if name is None else None
        if hasattr(holder, "to_dict"):
            return getattr(holder, node.attr)
        if hasattr(holder, "_modules"):
            return holder._modules[node.attr]  # noqa: SLF001 - as above
        raise _UndecidedError

    def _item(self, node: ast.Subscript, names: Mapping[str, Any]) -> Any:
        value = self._value(node.value, names)
        if isinstance(node.slice, ast.Slice):
            ends = (node.slice.lower, node.slice.upper, node.slice.step)
            part = value[slice(*(None if end is None else self._value(end, names) for end in ends))]
            return _Layers(part) if isinstance(value, _Layers) else part
        found = value[self._value(node.slice, names)]
        return _Layers((found,)) if isinstance(value, _Layers) else found


def _without_call(node: ast.expr) -> ast.expr:
    """`layer` of `layer.__call__` and of `layer.forward`."""
    return node.value if isinstance(node, ast.Attribute) and node.attr in _CALLS else node


def _is_list(module: Any) -> bool:
    return type(module).__name__ == "ModuleList"


def _own_name(node: ast.AST) -> str | None:
    """`layers` of `self.layers`."""
    is_own = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
    return node.attr if is_own and isinstance(node, ast.Attribute) else None


def _calls_target(node: ast.AST, target: ast.expr) -> bool:
    """Whether a comprehension calls what it runs over."""
    names = {each.id for each in ast.walk(target) if isinstance(each, ast.Name)}
    calls = (each for each in ast.walk(node) if isinstance(each, ast.Call))
    return any(isinstance(part, ast.Name) and part.id in names for call in calls for part in (call.func, *call.args))


def _is_data(node: ast.AST, names: Mapping[str, Any]) -> bool:
    """Whether a value comes from the shape of the data: such a loop runs over data, not deeper."""
    has_shape = any(isinstance(each, ast.Attribute) and each.attr in _DATA for each in ast.walk(node))
    lengths = (each for each in ast.walk(node) if isinstance(each, ast.Call) and getattr(each.func, "id", "") == "len")
    has_length = any(_mentions(each, names, _ARGUMENT) for each in lengths)
    return has_shape or has_length or _mentions(node, names, _ANY)


def _mentions(node: ast.AST, names: Mapping[str, Any], value: object) -> bool:
    """Whether an expression contains a variable with this value."""
    return any(isinstance(each, ast.Name) and names.get(each.id) is value for each in ast.walk(node))


def _is_range(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range"


def _bind(target: ast.expr, value: Any, names: dict[str, Any]) -> None:
    if isinstance(target, ast.Name):
        names[target.id] = value
    elif isinstance(target, (ast.Tuple, ast.List)):
        parts = value if isinstance(value, tuple) and len(value) == len(target.elts) else [_ANY] * len(target.elts)
        for element, part in zip(target.elts, parts, strict=True):
            _bind(element, part, names)


def _forget(loop: ast.For | ast.While, names: dict[str, Any]) -> None:
    """What a loop changes is not known in it, if its number of iterations is not."""
    for each in ast.walk(loop):
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
            names[each.id] = _ANY
