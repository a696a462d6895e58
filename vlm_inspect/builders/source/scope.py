"""The names that one source file defines at its top level, each with the statements that define it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from msgspec import Struct, field

_CHANGING = {"update", "append", "extend", "pop", "setdefault", "clear", "insert", "remove"}
_REPLACING = {"__init__", "__new__", "__class__"}


class Scope(Struct, eq=False):
    """The names at the top level of one source file."""

    name: str  # `transformers.models.clip.modeling_clip`; names of the repository's modules begin with a dot
    is_package: bool = False
    definitions: dict[str, list[tuple[ast.stmt, bool]]] = field(default_factory=dict)
    """Name → the statements that define it, in order, each with whether it is conditional."""
    stars: list[ast.ImportFrom] = field(default_factory=list)
    changed: set[str] = field(default_factory=set)  # names whose values are modified in place
    unconditional: list[ast.stmt] = field(default_factory=list)  # the statements at the top level

    @classmethod
    def of(cls, name: str, tree: ast.Module, *, is_package: bool = False) -> Scope:
        """Collect the names of a parsed file."""
        scope = cls(name, is_package)
        scope.unconditional = tree.body
        for statement, conditional in _statements(tree.body):
            if isinstance(statement, ast.ImportFrom) and statement.names[0].name == "*":
                scope.stars.append(statement)
                continue
            for defined in _defined(statement):
                scope.definitions.setdefault(defined, []).append((statement, conditional))
        scope.changed |= set(_changed(tree))
        return scope

    def defining_statements(self, name: str) -> tuple[list[ast.stmt], bool]:
        """The statements that may define a name, and whether there is exactly one."""
        found = self.definitions.get(name, [])
        if found and not found[-1][1]:
            return [found[-1][0]], True
        return [statement for statement, _ in found], len(found) == 1


def _statements(body: list[ast.stmt]) -> Iterator[tuple[ast.stmt, bool]]:
    """The statements at the top level and in its blocks, each with whether it is conditional."""
    pending = [(statement, False) for statement in reversed(body)]
    while pending:
        statement, is_conditional = pending.pop()
        yield statement, is_conditional
        if isinstance(statement, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
            continue
        is_conditional = is_conditional or not isinstance(statement, ast.With)
        body, orelse, final = (getattr(statement, part, []) for part in ("body", "orelse", "finalbody"))
        handlers = [inner for handler in getattr(statement, "handlers", ()) for inner in handler.body]
        pending += [(inner, is_conditional) for inner in reversed([*body, *handlers, *orelse, *final])]


def _defined(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
        yield statement.name
    elif isinstance(statement, (ast.Import, ast.ImportFrom)):
        for each in statement.names:  # the name in `from x import` has no dots
            yield each.asname or each.name.partition(".")[0]
    elif isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
        for target in statement.targets if isinstance(statement, ast.Assign) else [statement.target]:
            names = (each for each in ast.walk(target) if isinstance(each, ast.Name))
            yield from (each.id for each in names if isinstance(each.ctx, ast.Store))


def _changed(tree: ast.Module) -> Iterator[str]:
    """Names whose values are modified in place: an entry of a dict, the constructor of a class."""
    for node in ast.walk(tree):
        at: ast.expr | None = None
        if isinstance(node, ast.Global):
            yield from node.names
        elif isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
            at = node.value
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            # `Layer.__init__ = other` and `modeling_clip.CLIPAttention = Other` replace classes
            at = node.value if node.attr in _REPLACING else None
            if node.attr[:1].isupper():
                yield node.attr
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            at = node.func.value if node.func.attr in _CHANGING else None
        if isinstance(at, ast.Name):
            yield at.id
