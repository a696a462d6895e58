"""Values of global names and imports, and the classes that `auto_map` and the Auto classes choose."""

from __future__ import annotations

import ast
import re

from vlm_inspect.builders.source.files import PACKAGE
from vlm_inspect.builders.source.machine import Machine
from vlm_inspect.builders.source.scope import Scope
from vlm_inspect.builders.source.values import (
    Choice,
    ClassRef,
    External,
    Frame,
    FunctionRef,
    Instance,
    Table,
    Unknown,
    Value,
    word_set,
)

BUILTINS = word_set(
    "len range int float bool str abs min max sum round list tuple dict set enumerate zip reversed "
    "sorted isinstance hasattr getattr setattr super print any all type map filter"
)
AUTO = re.compile(r"Auto[A-Z]\w*$")
_CIRCLE = Unknown("it is defined by itself")


def global_value(machine: Machine, scope: Scope, name: str) -> Value:
    """The value of a global name, evaluated once."""
    key = (scope.name, name)
    if key not in machine.global_values:
        machine.global_values[key] = _CIRCLE
        machine.global_values[key] = _global_value(machine, scope, name)
    return machine.global_values[key]


def _global_value(machine: Machine, scope: Scope, name: str) -> Value:
    definitions, is_certain = scope.defining_statements(name)
    if name in scope.changed:
        return _changed_table(machine, scope, name, definitions) or Unknown(f"{name} is changed after it is defined")
    if not definitions:
        return _from_star_import(machine, scope, name)
    declared = [each for each, _ in scope.definitions[name] if isinstance(each, ast.ClassDef)]
    if declared and scope.name.startswith(PACKAGE):
        # `AutoModel = auto_class_update(AutoModel)` is still the class
        definitions, is_certain = [declared[-1]], True
    values = [_statement_value(machine, scope, statement, name) for statement in definitions]
    return values[0] if is_certain else Choice.of(values, f"{name} is defined in {len(values)} ways")


def _changed_table(machine: Machine, scope: Scope, name: str, definitions: list[ast.stmt]) -> Table | None:
    """A registry: a dict to which its file adds entries, directly or by decorators. Others may add more."""
    table = _statement_value(machine, scope, definitions[0], name) if len(definitions) == 1 else None
    if not isinstance(table, Table):
        return None
    table.exact = False
    machine.global_values[scope.name, name] = table
    for statement in scope.unconditional:
        if isinstance(statement, (ast.ClassDef, ast.FunctionDef)) and statement.decorator_list:
            machine.name(scope, statement.name)
        elif isinstance(statement, (ast.Assign, ast.Expr)) and _is_change_of(statement, name):
            machine.run([statement], Frame(scope))
    return table


def _is_change_of(statement: ast.Assign | ast.Expr, name: str) -> bool:
    """Whether it is `name[key] = value` or `name.update(…)`."""
    changed = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement.value, "func", None)]
    owners = (each.value for each in changed if isinstance(each, (ast.Subscript, ast.Attribute)))
    return any(isinstance(owner, ast.Name) and owner.id == name for owner in owners)


def _from_star_import(machine: Machine, scope: Scope, name: str) -> Value:
    for statement in scope.stars:
        module = machine.program.absolute(scope, statement)
        found = machine.program.scope(module) if module is not None else None
        if isinstance(found, Scope) and (name in found.definitions or found.stars):
            value = machine.name(found, name)
            if not isinstance(value, Unknown):
                return value
    return External(f"builtins.{name}") if name in BUILTINS else Unknown(f"{name} is not defined")


def _statement_value(machine: Machine, scope: Scope, statement: ast.stmt, name: str) -> Value:
    if isinstance(statement, ast.ClassDef):
        return class_of(machine, scope, statement)
    if isinstance(statement, ast.FunctionDef):
        return _decorated(machine, scope, statement, FunctionRef(statement, scope))
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
    """A class; unknown if something may replace it."""
    if any(keyword.arg == "metaclass" for keyword in node.keywords):
        return Unknown(f"{node.name} has a metaclass")
    if any(isinstance(each, ast.FunctionDef) and each.name == "__new__" for each in node.body):
        return Unknown(f"{node.name} makes its instances itself")
    return _decorated(machine, scope, node, ClassRef(node, scope))


def _decorated(machine: Machine, scope: Scope, node: ast.ClassDef | ast.FunctionDef, value: Value) -> Value:
    """What the repository's own decorators make of a class or function; those of libraries do not replace it."""
    own = node.decorator_list if not scope.name.startswith(PACKAGE) else []
    for decorator in reversed(own):
        at = decorator.func if isinstance(decorator, ast.Call) else decorator
        while isinstance(at, ast.Attribute):
            at = at.value
        if not isinstance(at, ast.Name) or at.id in {"property", "staticmethod", "classmethod"}:
            continue
        found = machine.name(scope, at.id)
        read = isinstance(found, (ClassRef, FunctionRef)) and found.scope.name.startswith(PACKAGE)
        if not read and not isinstance(found, External):
            value = machine.call(machine.evaluate(decorator, Frame(scope)), [value], {})
            if isinstance(value, Unknown):
                return Unknown(f"{node.name} is decorated by the repository's own code")
    return value


def imported(machine: Machine, scope: Scope, statement: ast.Import | ast.ImportFrom, name: str) -> Value:
    """The value that an import assigns to a name."""
    alias = next(each for each in statement.names if name in {each.asname, each.name, each.name.partition(".")[0]})
    if isinstance(statement, ast.Import):
        return External(alias.name if alias.asname else alias.name.partition(".")[0])
    module = machine.program.absolute(scope, statement)
    if module is None:
        return Unknown(f"{alias.name} lies outside the repository")
    external_value = machine.program.external_value(module, alias.name)
    return _imported_member(machine, module, alias.name) if external_value is None else external_value


def _imported_member(machine: Machine, module: str, name: str) -> Value:
    """A name in a module that is read, or a module of a package."""
    found = machine.program.scope(module)
    if isinstance(found, Scope) and name in found.definitions:
        return machine.name(found, name)
    inner = machine.program.scope(f".{name}" if module == "." else f"{module}.{name}")
    if isinstance(inner, Scope):
        return inner
    if isinstance(found, Scope) and found.stars:
        return machine.name(found, name)
    if module.startswith(PACKAGE):
        home = machine.program.module_declaring(name)
        return machine.name(home, name) if isinstance(home, Scope) else External(f"{module}.{name}")
    return found if isinstance(found, Unknown) else Unknown(f"{name} is not in {module.removeprefix('.')}")


def repository_class(machine: Machine, reference: str) -> Value:
    """The class of a reference in `auto_map`: `modeling_phi3_v.Phi3VForCausalLM`."""
    if "--" in reference:
        return Unknown(f"{reference.partition('--')[0][:80]} is another repository")
    module, _, name = reference.rpartition(".")
    scope = machine.program.scope(f".{module}")
    return machine.name(scope, name) if isinstance(scope, Scope) else scope


def auto_class(machine: Machine, auto: ClassRef, config: Value) -> Value:
    """The class of `AutoModel.from_config(config)`: from `auto_map`, or else by `model_type`."""
    is_config = isinstance(config, (Instance, Table))
    attributes = config.attributes if isinstance(config, Instance) else config
    table = attributes.get("auto_map") if is_config else None
    reference = table.get(auto.name) if isinstance(table, Table) else None
    if isinstance(reference, str):
        return repository_class(machine, reference)
    kind = machine.attribute(config, "model_type") if is_config else None
    names = _class_names(machine, auto)
    if not isinstance(kind, str) or names is None:
        return Unknown(f"{auto.name} chooses the class by a configuration that the source does not decide")
    name = names.get(kind)
    name = name[0] if isinstance(name, tuple) and name else name
    home = machine.program.module_declaring(name) if isinstance(name, str) else None
    if isinstance(home, Scope) and isinstance(name, str):
        return machine.name(home, name)
    return Unknown(f"transformers has no class for {kind[:50]!r} in {auto.name}")


def _class_names(machine: Machine, auto: ClassRef) -> Table | None:
    """The class names of an Auto class: of `_model_mapping = MODEL_MAPPING`, `MODEL_MAPPING_NAMES`."""
    for statement in auto.node.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Name):
            found = machine.name(auto.scope, f"{statement.value.id}_NAMES")
            if isinstance(found, Table):
                return found
    return None
