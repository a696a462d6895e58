"""What a name at the top of a file stands for, and which class `auto_map` and the Auto classes choose."""

from __future__ import annotations

import ast
import re

from vlm_inspect.builders.source.files import PACKAGE
from vlm_inspect.builders.source.machine import Machine
from vlm_inspect.builders.source.scope import Scope
from vlm_inspect.builders.source.values import (
    Choice,
    ClassRef,
    Foreign,
    Frame,
    FunctionRef,
    Instance,
    Table,
    Unknown,
    Value,
    words,
)

BUILTINS = words(
    "len range int float bool str abs min max sum round list tuple dict set enumerate zip reversed "
    "sorted isinstance hasattr getattr setattr super print any all type"
)
AUTO = re.compile(r"Auto[A-Z]\w*$")
_CIRCLE = Unknown("it is defined by itself")


def value_of(machine: Machine, scope: Scope, name: str) -> Value:
    """The value of a name at the top of a file, evaluated once."""
    key = (scope.name, name)
    if key not in machine.known:
        machine.known[key] = _CIRCLE
        machine.known[key] = _find(machine, scope, name)
    return machine.known[key]


def _find(machine: Machine, scope: Scope, name: str) -> Value:
    definitions, is_certain = scope.certain(name)
    if name in scope.changed:
        return Unknown(f"{name} is changed after it is defined")
    if not definitions:
        return _from_star(machine, scope, name)
    declared = [each for each, _ in scope.definitions[name] if isinstance(each, ast.ClassDef)]
    if declared and scope.name.startswith(PACKAGE):
        # `AutoModel = auto_class_update(AutoModel)` is still the class
        definitions, is_certain = [declared[-1]], True
    values = [_defined(machine, scope, statement, name) for statement in definitions]
    return values[0] if is_certain else Choice.of(values, f"{name} is defined in {len(values)} ways")


def _from_star(machine: Machine, scope: Scope, name: str) -> Value:
    for statement in scope.stars:
        module = machine.program.absolute(scope, statement)
        found = machine.program.scope(module) if module is not None else None
        if isinstance(found, Scope) and (name in found.definitions or found.stars):
            value = machine.name(found, name)
            if not isinstance(value, Unknown):
                return value
    return Foreign(f"builtins.{name}") if name in BUILTINS else Unknown(f"{name} is not defined")


def _defined(machine: Machine, scope: Scope, statement: ast.stmt, name: str) -> Value:
    if isinstance(statement, ast.ClassDef):
        return class_of(machine, scope, statement)
    if isinstance(statement, ast.FunctionDef):
        return _decorated(machine, scope, statement) or FunctionRef(statement, scope)
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return imported(machine, scope, statement, name)
    plain = isinstance(statement, ast.AnnAssign) or (
        isinstance(statement, ast.Assign) and all(isinstance(each, ast.Name) for each in statement.targets)
    )
    value = getattr(statement, "value", None)
    if plain and value is not None:
        return machine.evaluate(value, Frame(scope))
    return Unknown(f"{name} is defined in a way that is not followed")


def class_of(machine: Machine, scope: Scope, node: ast.ClassDef) -> Value:
    """A class; unknown where something may replace it."""
    decorated = _decorated(machine, scope, node)
    if decorated is not None:
        return decorated
    if any(keyword.arg == "metaclass" for keyword in node.keywords):
        return Unknown(f"{node.name} has a metaclass")
    if any(isinstance(each, ast.FunctionDef) and each.name == "__new__" for each in node.body):
        return Unknown(f"{node.name} makes its instances itself")
    return ClassRef(node, scope)


def _decorated(machine: Machine, scope: Scope, node: ast.ClassDef | ast.FunctionDef) -> Unknown | None:
    """Unknown where a decorator of the repository's own may replace it; those of libraries do not."""
    if scope.name.startswith(PACKAGE):
        return None
    for decorator in node.decorator_list:
        at = decorator.func if isinstance(decorator, ast.Call) else decorator
        while isinstance(at, ast.Attribute):
            at = at.value
        if not isinstance(at, ast.Name) or at.id in {"property", "staticmethod", "classmethod"}:
            continue
        found = machine.name(scope, at.id)
        read = isinstance(found, (ClassRef, FunctionRef)) and found.scope.name.startswith(PACKAGE)
        if not read and not isinstance(found, Foreign):
            return Unknown(f"{node.name} is decorated by the repository's own code")
    return None


def imported(machine: Machine, scope: Scope, statement: ast.Import | ast.ImportFrom, name: str) -> Value:
    """What an import binds a name to."""
    alias = next(
        each for each in statement.names if name in {each.asname, each.name, each.name.partition(".")[0]}
    )
    if isinstance(statement, ast.Import):
        return Foreign(alias.name if alias.asname else alias.name.partition(".")[0])
    module = machine.program.absolute(scope, statement)
    if module is None:
        return Unknown(f"{alias.name} lies outside the repository")
    outside = machine.program.outside(module, alias.name)
    return _member(machine, module, alias.name) if outside is None else outside


def _member(machine: Machine, module: str, name: str) -> Value:
    """A name of a module that is read, or a module in a package."""
    found = machine.program.scope(module)
    if isinstance(found, Scope) and name in found.definitions:
        return machine.name(found, name)
    inner = machine.program.scope(f".{name}" if module == "." else f"{module}.{name}")
    if isinstance(inner, Scope):
        return inner
    if isinstance(found, Scope) and found.stars:
        return machine.name(found, name)
    if module.startswith(PACKAGE):
        home = machine.program.home_of(name)
        return machine.name(home, name) if isinstance(home, Scope) else Foreign(f"{module}.{name}")
    return found if isinstance(found, Unknown) else Unknown(f"{name} is not in {module.removeprefix('.')}")


# --- Auto classes ------------------------------------------------------------------------------------


def own_class(machine: Machine, reference: str) -> Value:
    """A class of the repository as `auto_map` names it: `modeling_phi3_v.Phi3VForCausalLM`."""
    if "--" in reference:
        return Unknown(f"{reference.partition('--')[0][:80]} is another repository")
    module, _, name = reference.rpartition(".")
    scope = machine.program.scope(f".{module}")
    return machine.name(scope, name) if isinstance(scope, Scope) else scope


def auto_class(machine: Machine, auto: ClassRef, config: Value) -> Value:
    """The class that `AutoModel.from_config(config)` makes: the repository's, or that of its `model_type`."""
    is_config = isinstance(config, (Instance, Table))
    attributes = config.attributes if isinstance(config, Instance) else config
    table = attributes.get("auto_map") if is_config else None
    reference = table.get(auto.name) if isinstance(table, Table) else None
    if isinstance(reference, str):
        return own_class(machine, reference)
    kind = machine.attribute(config, "model_type") if is_config else None
    names = _class_names(machine, auto)
    if not isinstance(kind, str) or names is None:
        return Unknown(f"{auto.name} chooses the class by a configuration that the source does not decide")
    name = names.get(kind)
    name = name[0] if isinstance(name, tuple) and name else name
    home = machine.program.home_of(name) if isinstance(name, str) else None
    if isinstance(home, Scope) and isinstance(name, str):
        return machine.name(home, name)
    return Unknown(f"transformers has no class for {kind[:50]!r} in {auto.name}")


def _class_names(machine: Machine, auto: ClassRef) -> Table | None:
    """`_model_mapping = MODEL_MAPPING` is the mapping whose class names are `MODEL_MAPPING_NAMES`."""
    for statement in auto.node.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Name):
            found = machine.name(auto.scope, f"{statement.value.id}_NAMES")
            if isinstance(found, Table):
                return found
    return None
