"""What a name means: at the top of a file, on an object, in a line of base classes."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from vlm_inspect.build.source.frame import Frame
from vlm_inspect.build.source.library import PACKAGE
from vlm_inspect.build.source.scope import Scope
from vlm_inspect.build.source.values import (
    Choice,
    ClassRef,
    Foreign,
    FunctionRef,
    Unknown,
    Value,
)

if TYPE_CHECKING:
    from vlm_inspect.build.source.machine import Machine

BUILTINS = frozenset(
    {
        *(
            "len",
            "range",
            "int",
            "float",
            "bool",
            "str",
            "abs",
            "min",
            "max",
            "sum",
            "round",
            "list",
            "tuple",
        ),
        *(
            "dict",
            "set",
            "enumerate",
            "zip",
            "reversed",
            "sorted",
            "isinstance",
            "hasattr",
            "getattr",
            "setattr",
        ),
        *("super", "print", "any", "all", "type"),
    }
)
_CIRCLE = Unknown("it is defined by itself")


def value_of(machine: Machine, scope: Scope, name: str) -> Value:
    """The value of a name at the top of a file, evaluated once."""
    key = (scope.name, name)
    if key not in machine.known:
        machine.known[key] = _CIRCLE  # what a file that is defined by itself finds
        machine.known[key] = _find(machine, scope, name)
    return machine.known[key]


def _find(machine: Machine, scope: Scope, name: str) -> Value:
    definitions, is_certain = scope.certain(name)
    if name in scope.changed:
        return Unknown(f"{name} is changed after it is defined")
    if not definitions:
        return _from_star(machine, scope, name)
    declared = [each for each, _ in scope.definitions[name] if isinstance(each, ast.ClassDef)]
    if declared and scope.name.startswith(
        PACKAGE
    ):  # `AutoModel = auto_class_update(AutoModel)` is the class still
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
    if name in BUILTINS:
        return Foreign(f"builtins.{name}")
    return Unknown(f"{name} is not defined")


def _defined(machine: Machine, scope: Scope, statement: ast.stmt, name: str) -> Value:
    if isinstance(statement, ast.ClassDef):
        return class_of(machine, scope, statement)
    if isinstance(statement, ast.FunctionDef):
        return FunctionRef(statement, scope) if not _is_wrapped(machine, scope, statement) else _wrapped(name)
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return imported(machine, scope, statement, name)
    if isinstance(statement, ast.Assign) and all(
        isinstance(target, ast.Name) for target in statement.targets
    ):
        return machine.evaluate(statement.value, Frame(scope))
    if isinstance(statement, ast.AnnAssign) and statement.value is not None:
        return machine.evaluate(statement.value, Frame(scope))
    return Unknown(f"{name} is defined in a way that is not followed")


def class_of(machine: Machine, scope: Scope, node: ast.ClassDef) -> Value:
    """A class; unknown where something may put another in its place."""
    if _is_wrapped(machine, scope, node):
        return _wrapped(node.name)
    if any(keyword.arg == "metaclass" for keyword in node.keywords):
        return Unknown(f"{node.name} has a metaclass")
    if any(isinstance(each, ast.FunctionDef) and each.name == "__new__" for each in node.body):
        return Unknown(f"{node.name} makes its instances itself")
    return ClassRef(node, scope)


def _wrapped(name: str) -> Unknown:
    return Unknown(f"{name} is decorated by the repository's own code")


def _is_wrapped(machine: Machine, scope: Scope, node: ast.ClassDef | ast.FunctionDef) -> bool:
    """Whether a decorator of the repository's own may replace it; those of libraries do not."""
    if scope.name.startswith(PACKAGE):
        return False
    for decorator in node.decorator_list:
        at = decorator.func if isinstance(decorator, ast.Call) else decorator
        while isinstance(at, ast.Attribute):
            at = at.value
        if not isinstance(at, ast.Name) or at.id in {"property", "staticmethod", "classmethod"}:
            continue
        found = machine.name(scope, at.id)
        if isinstance(found, Foreign):
            continue
        if not isinstance(found, (ClassRef, FunctionRef)) or not found.scope.name.startswith(PACKAGE):
            return True
    return False


def imported(machine: Machine, scope: Scope, statement: ast.Import | ast.ImportFrom, name: str) -> Value:
    """What an import binds a name to."""
    alias = next(
        each for each in statement.names if name in {each.asname, each.name, each.name.partition(".")[0]}
    )
    if isinstance(statement, ast.Import):
        path = alias.name if alias.asname else alias.name.partition(".")[0]
        return Foreign(path)
    module = machine.program.absolute(scope, statement)
    if module is None:
        return Unknown(f"{alias.name} lies outside the repository")
    outside = machine.program.outside(module, alias.name)
    if outside is not None:
        return outside
    return _member(machine, module, alias.name)


def _member(machine: Machine, module: str, name: str) -> Value:
    """A name of a module that is read, or a module in a package."""
    found = machine.program.scope(module)
    if isinstance(found, Scope) and name in found.definitions:
        return machine.name(found, name)
    inner = machine.program.scope(f"{module}.{name}" if module != "." else f".{name}")
    if isinstance(inner, Scope):
        return inner
    if isinstance(found, Scope) and found.stars:
        return machine.name(found, name)
    if module.startswith(PACKAGE):
        home = machine.program.home_of(name)
        return machine.name(home, name) if isinstance(home, Scope) else Foreign(f"{module}.{name}")
    return found if isinstance(found, Unknown) else Unknown(f"{name} is not in {module.removeprefix('.')}")


# --- attributes --------------------------------------------------------------------------------------


# --- base classes ------------------------------------------------------------------------------------
