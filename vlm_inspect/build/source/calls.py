"""Calls: functions and constructors that are read, torch's modules, and a few of Python's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from vlm_inspect.build.source import builtin_calls, containers, torch_kinds
from vlm_inspect.build.source.bound_calls import bound
from vlm_inspect.build.source.constructors import instance_of, run_function
from vlm_inspect.build.source.values import (
    Bound,
    Choice,
    ClassRef,
    Foreign,
    FunctionRef,
    Parameter,
    Partial,
    Unknown,
    Value,
)

if TYPE_CHECKING:
    from vlm_inspect.build.source.machine import Machine

_NOT_TOLD = "what it returns is not told by the text"
_TENSORS = frozenset(
    {
        *(
            "zeros",
            "ones",
            "empty",
            "rand",
            "randn",
            "full",
            "eye",
            "arange",
            "linspace",
            "tensor",
            "as_tensor",
        ),
        *(
            "from_numpy",
            "cat",
            "stack",
            "outer",
            "sin",
            "cos",
            "exp",
            "log",
            "zeros_like",
            "ones_like",
            "triu",
        ),
        *("tril", "meshgrid", "einsum", "pow", "sqrt", "rsqrt"),
    }
)
_PARAMETERS = frozenset({"torch.nn.Parameter", "torch.nn.parameter.Parameter", "torch.nn.Buffer"})


def call(  # noqa: PLR0911 - a line for each kind
    machine: Machine, function: Value, args: Sequence[Value], named: Mapping[str, Value]
) -> Value:
    """The value of a call; unknown where it is of nothing that is read."""
    if isinstance(function, ClassRef):
        return instance_of(machine, function, args, named)
    if isinstance(function, FunctionRef):
        return run_function(machine, function, args, named)
    if isinstance(function, Bound):
        return bound(machine, function, args, named)
    if isinstance(function, Partial):
        return machine.call(function.function, [*function.args, *args], {**function.named, **named})
    if isinstance(function, Choice):
        made = (machine.call(option, args, named) for option in function.options)
        return Choice.of(made, "its class is chosen when it runs")
    if isinstance(function, Foreign):
        return _foreign(machine, function, args, named)
    return function if isinstance(function, Unknown) else Unknown(_NOT_TOLD)


def _foreign(  # noqa: PLR0911 - a line for each kind
    machine: Machine, what: Foreign, args: Sequence[Value], named: Mapping[str, Value]
) -> Value:
    if what.path.startswith("builtins."):
        return builtin_calls.call(machine, what.name, args, named)
    if what.path in _PARAMETERS:
        return Parameter()
    if torch_kinds.is_torch_module(what):
        return torch_kinds.make(what, args, named)
    if what.path in {"functools.partial", "collections.OrderedDict"}:
        is_partial = what.name == "partial" and bool(args)
        return Partial(args[0], tuple(args[1:]), dict(named)) if is_partial else containers.table(args, named)
    if what.path in {"copy.deepcopy", "copy.copy"} and args:
        return containers.copied(machine, args[0])
    if what.path.startswith("math."):
        return builtin_calls.mathematics(what.name, args)
    if what.path.startswith("torch.") and what.name in _TENSORS:
        return Parameter()
    return Unknown(f"{what.path} is not read")


# --- constructors ------------------------------------------------------------------------------------


# --- functions ---------------------------------------------------------------------------------------


# --- methods -----------------------------------------------------------------------------------------
