"""What follows a program: its limits, and a journal of what it changes, so that a branch can be undone.

Only numbers, texts and the values of `values` are ever computed with; nothing that the program names is
imported, opened or called.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from vlm_inspect.build.source import attributes, bases, calls, evaluate, execute, names
from vlm_inspect.build.source.branches import Flow
from vlm_inspect.build.source.frame import Frame
from vlm_inspect.build.source.program import Program
from vlm_inspect.build.source.scope import Scope
from vlm_inspect.build.source.values import ClassRef, Items, Unknown, Value

MOST_STEPS = 500_000
"""Expressions that one reading evaluates: Phi-3-vision takes 12,000, a large mixture of experts 400,000."""
DEEPEST = 24
"""Calls inside one another."""
_MISSING = object()
_APPENDED = object()
_ITEMS_FOR_A_STEP = 8
_LOADED = (ast.Name, ast.Attribute, ast.Subscript, ast.Constant)


class TooLongError(Exception):
    """The program would be followed for longer than any model takes."""


class Machine:
    """One reading."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.known: dict[tuple[str, str], Value] = {}
        """Values of modules' names, once evaluated."""
        self.bases: dict[int, list[Value]] = {}
        """The line of bases of a class, by the identity of its declaration."""
        self._steps = 0
        self._depth = 0
        self._journal: list[tuple[object, object, object]] = []

    def evaluate(self, node: ast.expr, frame: Frame) -> Value:
        """The value of an expression. What it makes new costs steps by its size: the journal keeps it."""
        self.spend(1)
        value = evaluate.evaluate(self, node, frame)
        if isinstance(value, (list, dict, tuple, str)) and not isinstance(node, _LOADED):
            self.spend(len(value) // _ITEMS_FOR_A_STEP)
        return value

    def spend(self, steps: int) -> None:
        """Count work. Raises TooLongError where it is more than any model takes."""
        self._steps += steps
        if self._steps > MOST_STEPS:
            raise TooLongError

    def run(self, body: Sequence[ast.stmt], frame: Frame) -> Flow | None:
        """Follow statements; None where they come to their end."""
        return execute.run(self, body, frame)

    def call(self, function: Value, args: Sequence[Value], named: Mapping[str, Value]) -> Value:
        """The value of a call."""
        if self._depth >= DEEPEST:
            return Unknown("calls are nested too deep")
        self._depth += 1
        try:
            return calls.call(self, function, args, named)
        finally:
            self._depth -= 1

    def name(self, scope: Scope, name: str) -> Value:
        """The value of a name at the top of a file."""
        return names.value_of(self, scope, name)

    def attribute(self, value: Value, name: str) -> Value:
        """The value of `value.name`."""
        return attributes.attribute(self, value, name)

    def line_of(self, what: ClassRef) -> list[Value]:
        """A class and its bases, in the order in which attributes are looked up."""
        return bases.line_of(self, what)

    # --- what the program changes --------------------------------------------------------------------

    def set(self, container: dict[Any, Value], key: object, value: Value) -> None:
        """Set an entry: a name, an attribute, an item."""
        self._journal.append((container, key, container.get(key, _MISSING)))
        container[key] = value

    def remove(self, container: dict[Any, Value], key: object) -> None:
        """Take an entry away."""
        if key in container:
            self._journal.append((container, key, container.pop(key)))

    def refill(self, items: Items, content: Sequence[Value], *, exact: bool) -> None:
        """Change a list."""
        self.spend(len(items) // _ITEMS_FOR_A_STEP)
        self._journal.append((items, None, (list(items), items.exact)))
        items[:] = content
        items.exact = exact

    def append(self, items: Items, value: Value) -> None:
        """Change a list at its end."""
        self._journal.append((items, None, _APPENDED))
        items.append(value)

    def mark(self) -> int:
        """A place to come back to."""
        return len(self._journal)

    def undo(self, mark: int) -> dict[tuple[int, object], tuple[object, object, object]]:
        """Go back to a place; what had been changed since, as it was before coming back."""
        done: dict[tuple[int, object], tuple[object, object, object]] = {}
        while len(self._journal) > mark:
            container, key, before = self._journal.pop()
            if isinstance(container, Items):
                done.setdefault((id(container), key), (container, key, (list(container), container.exact)))
                if before is _APPENDED:
                    container.pop()
                else:
                    container[:], container.exact = before  # type: ignore[misc]
            elif isinstance(container, dict):
                done.setdefault((id(container), key), (container, key, container.get(key, _MISSING)))
                if before is _MISSING:
                    container.pop(key, None)
                else:
                    container[key] = before
        return done

    @staticmethod
    def is_missing(value: object) -> bool:
        """Whether an entry was not there."""
        return value is _MISSING
