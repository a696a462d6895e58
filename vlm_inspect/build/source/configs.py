"""Configurations: what config.json says, with the defaults of the class that reads it."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vlm_inspect.build.source.bases import is_config
from vlm_inspect.build.source.frame import Frame
from vlm_inspect.build.source.values import (
    Bound,
    ClassRef,
    FunctionRef,
    Instance,
    Items,
    Table,
    Unknown,
    Value,
)

if TYPE_CHECKING:
    from vlm_inspect.build.source.machine import Machine

_DEEPEST = 20
_BASE_DEFAULTS: Mapping[str, Value] = {
    "use_return_dict": True,
    "is_decoder": False,
    "add_cross_attention": False,
    "chunk_size_feed_forward": 0,
    "is_encoder_decoder": False,
    "output_attentions": False,
    "output_hidden_states": False,
    "torchscript": False,
}


def make_config(
    machine: Machine, what: ClassRef, args: Sequence[Value], named: Mapping[str, Value]
) -> Instance:
    """An instance of a configuration's class: by its constructor, or by the defaults that it declares."""
    made = Instance(what)
    line = machine.line_of(what)
    fill_config(machine, made, line, args, named)
    return made


def fill_config(
    machine: Machine, made: Instance, line: Sequence[Value], args: Sequence[Value], named: Mapping[str, Value]
) -> None:
    """Run the first constructor in a line of bases; the last of them keeps whatever is left over."""
    for base in line:
        if not isinstance(base, ClassRef):
            continue
        init = _function(base, "__init__")
        if init is not None:
            machine.call(Bound(FunctionRef(init, base.scope, owner=base), made), args, named)
            _keep(machine, made, named, over=False)
            return
    declared = {**_declared(machine, line), **named}
    _keep(machine, made, declared, over=True)
    _after(machine, made, line)


def _keep(machine: Machine, made: Instance, values: Mapping[str, Value], *, over: bool) -> None:
    for name, value in values.items():
        known = name in made.attributes and not isinstance(made.attributes[name], Unknown)
        if over or not known:
            machine.set(made.attributes, name, value)


def _declared(machine: Machine, line: Sequence[Value]) -> dict[str, Value]:
    """Fields with their defaults, as transformers 5 declares them, the bases' first."""
    found: dict[str, Value] = dict(_BASE_DEFAULTS) if is_config(line) else {}
    for base in reversed(line):
        for statement in base.node.body if isinstance(base, ClassRef) else ():
            if (
                isinstance(statement, ast.AnnAssign)
                and isinstance(statement.target, ast.Name)
                and statement.value
            ):
                found[statement.target.id] = machine.evaluate(statement.value, Frame(base.scope))
    return found


def _after(machine: Machine, made: Instance, line: Sequence[Value]) -> None:
    """`__post_init__`, where parts become configurations of their own."""
    for base in line:
        after = _function(base, "__post_init__") if isinstance(base, ClassRef) else None
        if after is not None and isinstance(base, ClassRef):
            machine.call(Bound(FunctionRef(after, base.scope, owner=base), made), [], {})
            return


def _function(what: ClassRef, name: str) -> ast.FunctionDef | None:
    return next(
        (each for each in what.node.body if isinstance(each, ast.FunctionDef) and each.name == name), None
    )


def wrapped(data: Any, depth: int = 0) -> Value:
    """A value of config.json as a value of the program."""
    if depth > _DEEPEST:
        return Unknown("nested too deep")
    if isinstance(data, Mapping):
        return Table({str(key): wrapped(value, depth + 1) for key, value in data.items()})
    if isinstance(data, list):
        return Items(wrapped(value, depth + 1) for value in data)
    return data if data is None or isinstance(data, (bool, int, float, str)) else Unknown("no plain value")
