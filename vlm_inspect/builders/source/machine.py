"""The state of one evaluation: limits, and a journal of changes so that a branch can be undone.

Values are numbers, strings and the classes of `values`. Nothing that the source names is imported, opened or
called.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from msgspec import Struct

from vlm_inspect.builders.source.files import Program
from vlm_inspect.builders.source.scope import Scope
from vlm_inspect.builders.source.values import Flow, Frame, Items, Kwargs, Unknown, Value, Values

MOST_STEPS = 500_000  # expressions: Phi-3-vision takes 12,000, a large mixture of experts 400,000
DEEPEST = 24  # nested calls
_APPENDED = object()
ITEMS_PER_STEP = 8  # of a list that is copied or compared
_LOADED = (ast.Name, ast.Attribute, ast.Subscript, ast.Constant)


class TooLongError(Exception):
    """The source takes more steps than any published model."""


class Handlers(Struct, frozen=True):
    """How each construct of Python is evaluated; a handler calls the machine for the parts of a construct."""

    evaluate: Callable[[Machine, ast.expr, Frame], Value]
    run: Callable[[Machine, Sequence[ast.stmt], Frame], Flow | None]  # None: they run to their end
    call: Callable[[Machine, Value, Values, Kwargs], Value]
    name: Callable[[Machine, Scope, str], Value]
    attribute: Callable[[Machine, Value, str], Value]


class Machine:
    """One evaluation of a program."""

    MISSING = object()  # stands for an entry that did not exist
    CREATED = object()  # the key of a journal's entry for the creation of a container

    def __init__(self, program: Program, handlers: Handlers) -> None:
        self.program = program
        self._handlers = handlers
        self.run = partial(handlers.run, self)
        self.name = partial(handlers.name, self)
        self.attribute = partial(handlers.attribute, self)
        self.global_values: dict[tuple[str, str], Value] = {}
        """Evaluated values of global names, by module and name."""
        self.bases: dict[int, list[Value]] = {}  # a class and its bases, by the identity of its syntax node
        self.may_break = False
        """Whether the current iteration may be the last of its loop."""
        self._steps = 0
        self._depth = 0
        self._journal: list[tuple[Any, object, object]] = []

    def evaluate(self, node: ast.expr, frame: Frame) -> Value:
        """The value of an expression. A new value costs steps by its size, because the journal holds it."""
        self.spend(1)
        value = self._handlers.evaluate(self, node, frame)
        if isinstance(value, (list, dict, tuple, str)) and not isinstance(node, _LOADED):
            self.spend(len(value) // ITEMS_PER_STEP)
        return value

    def spend(self, steps: int) -> None:
        """Count steps. Raises TooLongError."""
        self._steps += steps
        if self._steps > MOST_STEPS:
            raise TooLongError

    def call(self, function: Value, args: Values, kwargs: Kwargs) -> Value:
        """The value of a call."""
        if self._depth >= DEEPEST:
            return Unknown("calls are nested too deep")
        self._depth += 1
        try:
            return self._handlers.call(self, function, args, kwargs)
        finally:
            self._depth -= 1

    def set(self, container: dict[Any, Value], key: object, value: Value) -> None:
        """Set a name, attribute or item."""
        self._journal.append((container, key, container.get(key, self.MISSING)))
        container[key] = value

    def remove(self, container: dict[Any, Value], key: object) -> None:
        """Remove a name, attribute or item."""
        if key in container:
            self._journal.append((container, key, container.pop(key)))

    def replace_items(self, items: Items, content: Sequence[Value], *, exact: bool) -> None:
        """Replace the content of a list."""
        self.spend(len(items) // ITEMS_PER_STEP)
        self._journal.append((items, None, (list(items), items.exact)))
        items[:] = content
        items.exact = exact

    def append(self, items: Items, value: Value) -> None:
        """Append to a list."""
        self._journal.append((items, None, _APPENDED))
        items.append(value)

    def created(self, container: Items | dict[Any, Value]) -> None:
        """Record that a container is new: a branch that does not create it says nothing of its entries."""
        before = (list(container), container.exact) if isinstance(container, Items) else self.MISSING
        self._journal.append((container, self.CREATED, before))

    def mark(self) -> int:
        """A state that `undo` can return to."""
        return len(self._journal)

    def undo(self, mark: int) -> dict[tuple[int, object], tuple[Any, Any, Any]]:
        """Return to a state; return each changed entry with its value until now: container, key, value."""
        done: dict[tuple[int, object], tuple[Any, Any, Any]] = {}
        while len(self._journal) > mark:
            container, key, before = self._journal.pop()
            is_list = isinstance(container, Items)
            if (id(container), key) not in done:
                now = (list(container), container.exact) if is_list else container.get(key, self.MISSING)
                done[id(container), key] = (container, key, now)
            if before is _APPENDED:
                container.pop()
            elif is_list:
                container[:], container.exact = before  # type: ignore[misc]
            elif before is self.MISSING:
                container.pop(key, None)
            else:
                container[key] = before
        return done
