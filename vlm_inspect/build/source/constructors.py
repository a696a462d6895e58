"""Constructors and functions, followed."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from vlm_inspect.build.source import torch_kinds
from vlm_inspect.build.source.bases import is_config, is_module, open_base
from vlm_inspect.build.source.configs import make_config
from vlm_inspect.build.source.evaluate import INSTANTIATING
from vlm_inspect.build.source.frame import Frame
from vlm_inspect.build.source.library import PACKAGE
from vlm_inspect.build.source.values import (
    Choice,
    ClassRef,
    Foreign,
    FunctionRef,
    Instance,
    Table,
    Unknown,
    Value,
)

if TYPE_CHECKING:
    from vlm_inspect.build.source.machine import Machine


def instance_of(machine: Machine, what: ClassRef, args: Sequence[Value], named: Mapping[str, Value]) -> Value:
    """An instance of a class that is read, by its constructor."""
    line = machine.line_of(what)
    if is_config(line):
        return make_config(machine, what, args, named)
    made = Instance(what, is_module=is_module(line), open_reason=open_base(line))
    if what.name == "ClassInstantier" and args:
        made.attributes[INSTANTIATING] = args[0]
        return made
    construct(machine, made, line, args, named)
    return made


_NOT_TOLD = "the text does not tell it"


def construct(
    machine: Machine, made: Instance, line: Sequence[Value], args: Sequence[Value], named: Mapping[str, Value]
) -> None:
    """Run the first constructor in a line of bases; those of torch and transformers are known."""
    for base in line:
        if isinstance(base, ClassRef):
            init = _constructor(base)
            if init is not None:
                run_function(machine, FunctionRef(init, base.scope, owner=base), [made, *args], named)
                return
        elif isinstance(base, Foreign) and base.path == f"{PACKAGE}.PreTrainedModel":
            machine.set(
                made.attributes, "config", args[0] if args else named.get("config", Unknown(_NOT_TOLD))
            )
            return
        elif isinstance(base, Foreign) and torch_kinds.is_torch_module(base) and base.name != "Module":
            torch_kinds.fill(made, base, args, named)
            return


def _constructor(what: ClassRef) -> ast.FunctionDef | None:
    found = (each for each in what.node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__")
    return next(found, None)


def run_function(
    machine: Machine, function: FunctionRef, args: Sequence[Value], named: Mapping[str, Value]
) -> Value:
    """Follow a function that is read, to what it returns."""
    bound = _arguments(machine, function, args, named)
    first = args[0] if args else None
    frame = Frame(function.scope, bound, function.around, function.owner, first)
    if isinstance(function.node, ast.Lambda):
        return machine.evaluate(function.node.body, frame)
    if any(isinstance(node, (ast.Yield, ast.YieldFrom)) for node in ast.walk(function.node)):
        return Unknown(_NOT_TOLD)
    flow = machine.run(function.node.body, frame)
    last = flow.value if flow is not None and flow.kind == "return" else None
    if flow is not None and flow.kind == "raise" and not frame.returns:
        return Unknown("it ends in an error, as far as the text tells")
    if not frame.returns:
        return last
    return Choice.of([*frame.returns, last], "it depends on a condition that the text does not tell")


def _arguments(
    machine: Machine, function: FunctionRef, args: Sequence[Value], named: Mapping[str, Value]
) -> dict[str, Value]:
    """Arguments by the names of parameters, defaults filled in."""
    stated = function.node.args
    places = [*stated.posonlyargs, *stated.args]
    bound: dict[str, Value] = {}
    defaults = [*[None] * (len(places) - len(stated.defaults)), *stated.defaults]
    for place, default in (
        *zip(places, defaults, strict=True),
        *zip(stated.kwonlyargs, stated.kw_defaults, strict=True),
    ):
        bound[place.arg] = (
            machine.evaluate(default, Frame(function.scope, around=function.around))
            if default is not None
            else Unknown(f"{place.arg} is not given")
        )
    bound.update(zip((place.arg for place in places), args, strict=False))
    known = {place.arg for place in (*places, *stated.kwonlyargs)}
    bound.update({name: value for name, value in named.items() if name in known})
    if stated.vararg:
        bound[stated.vararg.arg] = tuple(args[len(places) :])
    if stated.kwarg:
        bound[stated.kwarg.arg] = Table({name: value for name, value in named.items() if name not in known})
    return bound
