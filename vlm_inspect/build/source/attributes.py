"""What `value.name` means: on an object, a class, `super()`, a list."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from vlm_inspect.build.source.frame import Frame
from vlm_inspect.build.source.scope import Scope
from vlm_inspect.build.source.values import (
    Bound,
    ClassRef,
    Foreign,
    FunctionRef,
    Instance,
    Items,
    Super,
    Table,
    Unknown,
    Value,
)

if TYPE_CHECKING:
    from vlm_inspect.build.source.machine import Machine

METHODS = {
    Items: frozenset({"append", "extend", "insert", "copy", "index"}),
    Table: frozenset({"get", "items", "keys", "values", "update", "pop", "copy", "setdefault"}),
    str: frozenset({"lower", "upper", "startswith", "endswith", "split", "replace", "strip"}),
}


MODULE_METHODS = frozenset({"add_module", "register_module", "append", "extend", "insert", "register_buffer"})


QUIET_METHODS = frozenset(
    {
        *(
            "register_parameter",
            "post_init",
            "init_weights",
            "apply",
            "eval",
            "train",
            "requires_grad_",
            "half",
        ),
        *("float", "to", "cuda", "bfloat16", "tie_weights", "__init__", "register_forward_hook"),
        *("gradient_checkpointing_enable", "gradient_checkpointing_disable"),
    }
)


MODEL_MAKERS = frozenset({"from_config", "_from_config", "from_pretrained", "from_dict"})


def attribute(machine: Machine, value: Value, name: str) -> Value:  # noqa: PLR0911 - a line for each kind
    """The value of `value.name`, as far as the text tells it."""
    if isinstance(value, Instance):
        return _of_instance(machine, value, name)
    if isinstance(value, ClassRef):
        return _of_class(machine, value, name)
    if isinstance(value, Super):
        return _of_super(machine, value, name)
    if isinstance(value, Foreign):
        return Foreign(f"{value.path}.{name}")
    if isinstance(value, Scope):
        return machine.name(value, name)
    if isinstance(value, Table) and name in value:  # a part of a configuration whose class was not read
        return value[name]
    if any(isinstance(value, kind) and name in methods for kind, methods in METHODS.items()):
        return Bound(name, value)
    return value if isinstance(value, Unknown) else Unknown(f"{name} is not told by the text")


def _of_instance(machine: Machine, instance: Instance, name: str) -> Value:
    if name in instance.attributes:
        return instance.attributes[name]
    if isinstance(instance.made_by, ClassRef):
        found = _in_line(machine, machine.line_of(instance.made_by), name, instance)
        if found is not None:
            return found
        mapped = _mapped(machine, instance, name)
        if mapped is not None:
            return mapped
    if instance.is_module and name in MODULE_METHODS | QUIET_METHODS:
        return Bound(name, instance)
    return Unknown(f"{name} of {instance.class_name} is not told by the text", of=instance)


def _mapped(machine: Machine, instance: Instance, name: str) -> Value | None:
    """What a configuration has under another name: `attribute_map` says which."""
    table = _in_line(machine, machine.line_of(instance.made_by), "attribute_map", instance)  # type: ignore[arg-type]
    other = table.get(name) if isinstance(table, Table) else None
    return machine.attribute(instance, other) if isinstance(other, str) and other != name else None


def _of_class(machine: Machine, what: ClassRef, name: str) -> Value:
    if name in MODEL_MAKERS:
        return Bound(name, what)
    if name == "__name__":
        return what.name
    found = _in_line(machine, machine.line_of(what), name, None)
    return found if found is not None else Unknown(f"{name} of {what.name} is not told by the text")


def _of_super(machine: Machine, value: Super, name: str) -> Value:
    line = machine.line_of(value.instance.made_by) if isinstance(value.instance.made_by, ClassRef) else []
    place = next(
        (i for i, each in enumerate(line) if isinstance(each, ClassRef) and each.node is value.owner.node), -1
    )
    after = line[place + 1 :]
    if name == "__init__":
        return Bound(Items(after), value.instance)
    found = _in_line(machine, after, name, value.instance)
    if found is None and name in MODULE_METHODS | QUIET_METHODS:
        return Bound(name, value.instance)
    return found if found is not None else Unknown(f"{name} of a base is not told by the text")


def _in_line(machine: Machine, line: list[Value], name: str, instance: Instance | None) -> Value | None:
    for owner in line:
        if not isinstance(owner, ClassRef):
            continue
        for statement in reversed(owner.node.body):
            if isinstance(statement, ast.FunctionDef) and statement.name == name:
                return _method(machine, owner, statement, instance)
            if name in _targets(statement) and statement.value is not None:  # type: ignore[attr-defined]
                return machine.evaluate(statement.value, Frame(owner.scope, owner=owner))  # type: ignore[attr-defined]
    return None


def _targets(statement: ast.stmt) -> list[str]:
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    targets = [statement.target] if isinstance(statement, ast.AnnAssign) else targets
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _method(machine: Machine, owner: ClassRef, node: ast.FunctionDef, instance: Instance | None) -> Value:
    function = FunctionRef(node, owner.scope, owner=owner)
    kinds = {each.id for each in node.decorator_list if isinstance(each, ast.Name)}
    if "staticmethod" in kinds:
        return function
    if "classmethod" in kinds:
        return Bound(function, owner)
    if instance is None:
        return function
    if "property" in kinds:
        return machine.call(function, [instance], {})
    return Bound(function, instance)
