"""A source file's names: what each is defined as, and whether that is certain."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from msgspec import Struct, field

_CHANGING = frozenset({"update", "append", "extend", "pop", "setdefault", "clear", "insert", "remove"})
Definition = ast.stmt
_REPLACING = frozenset({"__init__", "__new__", "__class__"})


class Scope(Struct, eq=False):
    """The top level of one source file."""

    name: str
    """`transformers.models.clip.modeling_clip`; that of a repository's own file begins with a dot."""
    is_package: bool = False
    definitions: dict[str, list[tuple[Definition, bool]]] = field(default_factory=dict)
    """Name → the statements that define it in order, and whether each runs under a condition."""
    stars: list[ast.ImportFrom] = field(default_factory=list)
    changed: set[str] = field(default_factory=set)
    """Names of what is changed after it is defined, in a way that is not followed."""

    @classmethod
    def of(cls, name: str, tree: ast.Module, *, is_package: bool = False) -> Scope:
        """Read the names of a parsed file."""
        scope = cls(name, is_package)
        for statement, conditional in _statements(tree.body, conditional=False):
            scope._define(statement, conditional=conditional)
        scope.changed |= set(_changed(tree))
        return scope

    def _define(self, statement: ast.stmt, *, conditional: bool) -> None:
        if isinstance(statement, ast.ImportFrom) and statement.names[0].name == "*":
            self.stars.append(statement)
            return
        for name in _defined(statement):
            self.definitions.setdefault(name, []).append((statement, conditional))

    def certain(self, name: str) -> tuple[list[Definition], bool]:
        """The statements that may define a name, and whether it is one alone that does."""
        found = self.definitions.get(name, [])
        if found and not found[-1][1]:
            return [found[-1][0]], True
        return [statement for statement, _ in found], len(found) == 1


def _statements(body: list[ast.stmt], *, conditional: bool) -> Iterator[tuple[ast.stmt, bool]]:
    """The statements of a file's top level, those in its `if` and `try` blocks included."""
    pending = [(statement, conditional) for statement in reversed(body)]
    while pending:
        statement, under = pending.pop()
        yield statement, under
        is_certain = isinstance(statement, ast.With) and not under
        pending.extend((inner, not is_certain) for inner in reversed(_blocks(statement)))


def _blocks(statement: ast.stmt) -> list[ast.stmt]:
    if isinstance(statement, (ast.If, ast.For, ast.While)):
        return [*statement.body, *statement.orelse]
    if isinstance(statement, ast.With):
        return statement.body
    if isinstance(statement, ast.Try):
        handlers = [inner for handler in statement.handlers for inner in handler.body]
        return [*statement.body, *handlers, *statement.orelse, *statement.finalbody]
    return []


def _defined(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
        yield statement.name
    elif isinstance(statement, (ast.Import, ast.ImportFrom)):
        for alias in statement.names:
            yield alias.asname or (
                alias.name.partition(".")[0] if isinstance(statement, ast.Import) else alias.name
            )
    elif isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
        for target in statement.targets if isinstance(statement, ast.Assign) else [statement.target]:
            yield from (
                node.id for node in ast.walk(target) if _is_stored(node) and isinstance(node, ast.Name)
            )


def _is_stored(node: ast.AST) -> bool:
    return isinstance(getattr(node, "ctx", None), ast.Store)


def _changed(tree: ast.Module) -> Iterator[str]:
    """Names that are changed in place anywhere: an entry of a table, a class's constructor."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            yield from node.names
        elif isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
            yield from _name_of(node.value)
        elif isinstance(node, ast.Attribute) and _is_stored(node) and _replaces(node.attr):
            yield from (_name_of(node.value) if node.attr in _REPLACING else [node.attr])
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in _CHANGING
        ):
            yield from _name_of(node.func.value)


def _replaces(attribute: str) -> bool:
    """`Layer.__init__ = other` and `modeling_clip.CLIPAttention = Other` are other classes from then on."""
    return attribute in _REPLACING or attribute[:1].isupper()


def _name_of(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Name):
        yield node.id
