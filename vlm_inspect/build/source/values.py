"""What the text of a program stands for while it is followed: never an object of that program.

Numbers, texts, lists and tables are Python's own. Everything else is one of these.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

if TYPE_CHECKING:
    from vlm_inspect.build.source.scope import Scope

Value = Any
"""A Python number, text, None, `Items`, `Table`, range, tuple, or one of the classes here."""

_SHALLOW = 8
_MOST_CHOICES = 8


@dataclasses.dataclass(frozen=True, slots=True)
class Unknown:
    """A value that the text alone does not tell."""

    reason: str
    of: Any = dataclasses.field(default=None, compare=False, repr=False)
    """The instance that it is some part of, where that is known: what is set on it may be set there."""


class Choice(Struct, frozen=True):
    """One of several values; which, is decided where the text cannot be followed."""

    options: tuple[Value, ...]

    @classmethod
    def of(cls, values: Iterable[Value], reason: str) -> Value:
        """The one value that all are, a choice between them, or unknown where they are many."""
        found: list[Value] = []
        for value in values:
            for option in value.options if isinstance(value, Choice) else (value,):
                if not any(alike(option, other) for other in found):
                    found.append(option)
        if len(found) == 1:
            return found[0]
        if len(found) > _MOST_CHOICES or any(isinstance(option, Unknown) for option in found):
            return Unknown(reason)
        return cls(tuple(found))


class Items(list[Value]):
    """A list. Where it is not exact, its items show what it holds and not how many."""

    exact: bool = True


class Table(dict[Any, Value]):
    """A dict. Where it is not exact, there may be other keys."""

    exact: bool = True


class Foreign(Struct, frozen=True):
    """Something outside all text that is read, by its dotted name: `torch.nn.Linear`."""

    path: str

    @property
    def name(self) -> str:
        """The last part."""
        return self.path.rpartition(".")[2]


class ClassRef(Struct, frozen=True, eq=False):
    """A class that is read."""

    node: ast.ClassDef
    scope: Scope

    @property
    def name(self) -> str:
        """As it is declared."""
        return self.node.name


class FunctionRef(Struct, frozen=True, eq=False):
    """A function or lambda that is read, with the names around it."""

    node: ast.FunctionDef | ast.Lambda
    scope: Scope
    around: Mapping[str, Value] = field(default_factory=dict)
    owner: ClassRef | None = None
    """The class that declares it."""


class Bound(Struct, frozen=True, eq=False):
    """A function with its first argument, or one of the reader's own under its name."""

    function: Value
    first: Value


class Partial(Struct, frozen=True, eq=False):
    """A call that waits for more arguments."""

    function: Value
    args: tuple[Value, ...]
    named: Mapping[str, Value]


class Super(Struct, frozen=True, eq=False):
    """`super()`: an instance, seen from the class whose method asks."""

    instance: Instance
    owner: ClassRef


class Parameter(Struct, frozen=True):
    """A bare parameter, a buffer or a tensor: something that a module may hold, and no module."""


class Instance(Struct, eq=False):
    """An object of a class that is read, or of one of torch's: what its constructor sets."""

    made_by: ClassRef | Foreign
    attributes: dict[str, Value] = field(default_factory=dict)
    is_module: bool = False
    replaced: dict[str, str] = field(default_factory=dict)
    """Names of modules somewhere inside that are replaced from outside, and why it is not known by what."""
    open_reason: str = ""
    """Why it may have more attributes than these; empty where it has none."""

    @property
    def class_name(self) -> str:
        """The name of its class."""
        return self.made_by.name


def alike(one: Value, other: Value) -> bool:
    """Whether two values are the same as far as names of classes go. What is too large to compare is not."""
    return _Comparison().alike(one, other, 0)


class _Comparison(Struct):
    """One comparison, within limits: values may be nested in ways that no model's are."""

    left: int = 20_000

    def alike(self, one: Value, other: Value, depth: int) -> bool:
        self.left -= 1
        if one is other:
            return True
        if self.left < 0 or depth > _SHALLOW or isinstance(one, dict) or isinstance(other, dict):
            return False
        if isinstance(one, Instance) and isinstance(other, Instance):
            return self._instances(one, other, depth)
        if isinstance(one, ClassRef) and isinstance(other, ClassRef):
            return one.node is other.node
        if isinstance(one, (list, tuple)) and type(one) is type(other):
            pairs = zip(one, other, strict=False)
            return len(one) == len(other) and all(self.alike(*pair, depth + 1) for pair in pairs)
        return type(one) is type(other) and bool(one == other)

    def _instances(self, one: Instance, other: Instance, depth: int) -> bool:
        same = self.alike(one.made_by, other.made_by, depth)
        if not same or one.attributes.keys() != other.attributes.keys():
            return False
        return all(
            self.alike(value, other.attributes[name], depth + 1) for name, value in one.attributes.items()
        )
