"""The values of an evaluation. They are never objects of the program that is read.

Numbers, strings, None, ranges and tuples are Python's own. Every other value is one of these classes.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct, field

from vlm_inspect.builders.source.scope import Scope

Value = Any  # a Python number, string, None, range or tuple, or one of the classes here
Values = Sequence[Value]
Kwargs = Mapping[str, Value]

UNDECIDED = "the source does not decide it"
CONDITIONAL = "it depends on a condition that the source does not decide"
CHOSEN_AT_RUN_TIME = "its class is chosen at run time"
NOT_FOLLOWED = "it is set in a way that is not followed"

_DEEPEST_COMPARED = 8
_MOST_COMPARED = 20_000
_MOST_CHOICES = 8


@dataclasses.dataclass(frozen=True, slots=True)
class Unknown:
    """A value that the source does not determine."""

    reason: str = UNDECIDED
    of: Any = dataclasses.field(default=None, compare=False, repr=False)
    """The instance that it belongs to, if that is known."""


class Choice(Struct, frozen=True):
    """One of several values."""

    options: tuple[Value, ...]

    @classmethod
    def of(cls, values: Iterable[Value], reason: str) -> Value:
        """One value if all are the same, a choice between a few, or unknown."""
        found: list[Value] = []
        for value in values:
            for option in value.options if isinstance(value, Choice) else (value,):
                if not any(is_same(option, other) for other in found):
                    found.append(option)
        if len(found) == 1:
            return found[0]
        if len(found) > _MOST_CHOICES or any(isinstance(option, Unknown) for option in found):
            return Unknown(reason)
        return cls(tuple(found))


class Items(list[Value]):
    """A list. If it is not exact, it shows examples of its items, but not their number."""

    def __init__(self, values: Iterable[Value] = (), *, exact: bool = True) -> None:
        super().__init__(values)
        self.exact = exact


class Table(dict[Any, Value]):
    """A dict. If it is not exact, there may be other keys."""

    def __init__(self, values: Mapping[Any, Value] | Iterable[Any] = (), *, exact: bool = True) -> None:
        super().__init__(values)
        self.exact = exact


class External(Struct, frozen=True):
    """An object whose source is not read, by its dotted name: `torch.nn.Linear`."""

    path: str

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition(".")[2]


class ClassRef(Struct, frozen=True, eq=False):
    """A class whose source is read."""

    node: ast.ClassDef
    scope: Scope

    @property
    def name(self) -> str:
        """The name of the class."""
        return self.node.name


class FunctionRef(Struct, frozen=True, eq=False):
    """A function or lambda whose source is read."""

    node: ast.FunctionDef | ast.Lambda
    scope: Scope
    closure: Mapping[str, Value] = field(default_factory=dict)
    owner: ClassRef | None = None  # the class that declares it


class Bound(Struct, frozen=True, eq=False):
    """A function with its first argument, or the name of a built-in method with its object."""

    function: Value
    first: Value


class Partial(Struct, frozen=True, eq=False):
    """`functools.partial`."""

    function: Value
    args: Values
    kwargs: Kwargs


class Super(Struct, frozen=True, eq=False):
    """`super()`: an instance, with the class whose bases are searched."""

    instance: Instance
    owner: ClassRef


class Parameter(Struct, frozen=True):
    """A parameter, buffer or tensor."""


class Instance(Struct, eq=False):
    """An object, with the attributes that its constructor sets."""

    made_by: ClassRef | External
    attributes: dict[str, Value] = field(default_factory=dict)
    is_module: bool = False
    replaced: dict[str, str] = field(default_factory=dict)
    """Names of modules below it that are replaced later, with the reason."""
    incomplete_reason: str = ""  # why it may have more attributes than these; empty if these are all

    @property
    def class_name(self) -> str:
        """The name of its class."""
        return self.made_by.name


class Frame(Struct, eq=False):
    """The local names of one call."""

    scope: Scope
    names: dict[str, Value] = field(default_factory=dict)
    closure: Mapping[str, Value] = field(default_factory=dict)
    owner: ClassRef | None = None
    first: Value = None  # the first argument: `self` of a method
    returns: list[Value] = field(default_factory=list)  # values that conditional branches return


class Flow(Struct, frozen=True):
    """How statements ended before the last one."""

    kind: Literal["return", "raise", "break", "continue"]
    value: Value = None


def word_set(text: str) -> frozenset[str]:
    """The set of the words of a string."""
    return frozenset(text.split())


def is_number(value: Value) -> bool:
    """Whether a value is a number or a bool."""
    return isinstance(value, (int, float))


def is_plain(value: Value) -> bool:
    """Whether it is a number, a string, None, or a tuple of these."""
    if isinstance(value, tuple):
        return all(is_plain(each) for each in value)
    return value is None or isinstance(value, (bool, int, float, str))


def from_json(data: Any, depth: int = 0) -> Value:
    """Convert a value of config.json."""
    if depth > 20:  # noqa: PLR2004 - nesting
        return Unknown("nested too deep")
    if isinstance(data, Mapping):
        return Table({str(key): from_json(value, depth + 1) for key, value in data.items()})
    if isinstance(data, list):
        return Items(from_json(value, depth + 1) for value in data)
    return data if is_plain(data) else Unknown("no plain value")


def is_same(one: Value, other: Value, left: list[int] | None = None, depth: int = 0) -> bool:
    """Whether two values give the same class names. Values that are too large to compare are different."""
    left = left or [_MOST_COMPARED]  # comparisons, counted down
    left[0] -= 1
    if one is other:
        return True
    if left[0] < 0 or depth > _DEEPEST_COMPARED or isinstance(one, dict) or isinstance(other, dict):
        return False
    if isinstance(one, Instance) and isinstance(other, Instance):
        held = other.attributes
        return (
            is_same(one.made_by, other.made_by, left, depth)
            and one.attributes.keys() == held.keys()
            and all(is_same(value, held[name], left, depth + 1) for name, value in one.attributes.items())
        )
    if isinstance(one, ClassRef) and isinstance(other, ClassRef):
        return one.node is other.node
    if isinstance(one, (list, tuple)) and type(one) is type(other):
        pairs = zip(one, other, strict=False)
        return len(one) == len(other) and all(is_same(*pair, left, depth + 1) for pair in pairs)
    return type(one) is type(other) and bool(one == other)
