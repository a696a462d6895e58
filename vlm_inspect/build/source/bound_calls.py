"""Calls of methods: of objects that are read, of `super()`, of the makers of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from vlm_inspect.build.source import containers
from vlm_inspect.build.source.attributes import MODULE_METHODS, QUIET_METHODS
from vlm_inspect.build.source.auto_classes import AUTO, auto_class
from vlm_inspect.build.source.bases import is_config
from vlm_inspect.build.source.configs import fill_config, make_config
from vlm_inspect.build.source.constructors import construct, run_function
from vlm_inspect.build.source.library import PACKAGE
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


def bound(machine: Machine, method: Bound, args: Sequence[Value], named: Mapping[str, Value]) -> Value:
    """The value of a call of a method."""
    first, function = method.first, method.function
    if isinstance(function, FunctionRef):
        return run_function(machine, function, [first, *args], named)
    if isinstance(function, Items):  # the constructors behind `super().__init__`
        return _super_constructor(machine, first, function, args, named)
    if isinstance(first, ClassRef):
        return _made_by(machine, first, str(function), args, named)
    if isinstance(first, Instance) and function in MODULE_METHODS:
        return _module_method(machine, first, str(function), args)
    if isinstance(first, Instance) and function in QUIET_METHODS:
        return first
    return containers.method(machine, str(function), first, args, named)


def _super_constructor(
    machine: Machine, first: Value, line: Items, args: Sequence[Value], named: Mapping[str, Value]
) -> None:
    if not isinstance(first, Instance):
        return
    if is_config(line):
        fill_config(machine, first, line, args, named)
    else:
        construct(machine, first, line, args, named)


def _made_by(
    machine: Machine, what: ClassRef, maker: str, args: Sequence[Value], named: Mapping[str, Value]
) -> Value:
    """`Class.from_config(config)` and its kin: an instance of the class, or of the one that it chooses."""
    if is_config(machine.line_of(what)):
        data = args[0] if args else None
        given = {str(key): value for key, value in data.items()} if isinstance(data, Table) else None
        told = maker == "from_dict" and given is not None
        return (
            make_config(machine, what, [], given or {})
            if told
            else Unknown(f"{what.name} is read from a file")
        )
    config = named.get("config", args[0] if args and maker != "from_pretrained" else None)
    if config is None:
        config = Unknown("its configuration is another repository's")
    if AUTO.match(what.name) and what.scope.name.startswith(PACKAGE):
        what_else = auto_class(machine, what, config)
        return machine.call(what_else, [config], {}) if not isinstance(what_else, Unknown) else what_else
    return machine.call(what, [config], {})


def _module_method(machine: Machine, owner: Instance, method: str, args: Sequence[Value]) -> Value:
    if method in {"add_module", "register_module"} and len(args) > 1:
        if isinstance(args[0], str):
            machine.set(owner.attributes, args[0], args[1])
        else:
            owner.open_reason = "a module is added under a name that the text does not tell"
    elif method == "append" and args:
        machine.set(owner.attributes, str(len(owner.attributes)), args[0])
    elif method == "extend" and args:
        held = args[0]
        if isinstance(held, Items) and held.exact:
            for each in held:
                machine.set(owner.attributes, str(len(owner.attributes)), each)
        else:
            owner.open_reason = "its modules come from a list that the text does not tell"
    elif method == "insert":
        owner.open_reason = "a module is inserted between others"
    return None
