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
ANY_NAME = "*"
"""The attribute that stands for attributes, keys or items whose names or number are unknown."""
ANY_INDEX = "[*]"
"""The attribute that stands for the modules of a list of unknown length."""

_DEEPEST_COMPARED = 8
_MOST_COMPARED = 20_000
_MOST_CHOICES = 8


@dataclasses.dataclass(frozen=True, slots=True)
class Unknown:
    """A value that the source does not determine."""

    reason: str = UNDECIDED
    of: Any = dataclasses.field(default=None, compare=False, repr=False)
    """The instance that it belongs to, if that is known."""


@dataclasses.dataclass(frozen=True, slots=True)
class NamePattern(Unknown):
    """A string of which the source decides a part: the name `layer*` of `f"layer{index}"`."""

    text: str = ANY_NAME
    """The string, with `*` for each part that is unknown."""


UNKNOWN_INDEX = NamePattern(text=ANY_INDEX)


@dataclasses.dataclass(frozen=True, slots=True)
class Spread(Unknown):
    """Positional arguments of unknown number: `*layers`."""

    examples: Any = ()


class Choice(Struct, frozen=True):
    """One of several values."""

    options: tuple[Value, ...]

    @classmethod
    def of(cls, values: Iterable[Value], reason: str) -> Value:
        """One value if all are the same, a choice between a few, or unknown."""
        found = distinct(values)
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
    closure: dict[str, Value] = field(default_factory=dict)
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
    """An object, with the attributes that its constructor sets.

    A name of an attribute with `*` is a pattern: the source decides neither the names that are set nor their number.
    """

    made_by: ClassRef | External
    attributes: dict[str, Value] = field(default_factory=dict)
    is_module: bool = False
    replaced: dict[str, str] = field(default_factory=dict)
    """Names of modules below it that are replaced later, with the reason."""
    incomplete_reason: str = ""  # why it may have more attributes than these; empty if these are all
    is_example: bool = False  # whether it stands for several modules, of unknown number

    @property
    def class_name(self) -> str:
        """The name of its class."""
        return self.made_by.name

    def named(self, name: str) -> list[Value]:
        """The values that an attribute may have: of that name, and of the patterns that it matches."""
        held = self.attributes
        exact = [held[name]] if name in held else []
        return exact + [held[key] for key in held if ANY_NAME in key and matches_pattern(key, name)]

    def mark_example(self) -> None:
        """Note that it, with all modules in it, stands for several."""
        if not self.is_example:
            self.is_example = True
            for value in self.attributes.values():
                if isinstance(value, Instance) and value.is_module:
                    value.mark_example()

    @property
    def has_patterns(self) -> bool:
        """Whether some of its attributes have names that the source does not decide."""
        return any(ANY_NAME in name for name in self.attributes)


class Frame(Struct, eq=False):
    """The local names of one call."""

    scope: Scope
    names: dict[str, Value] = field(default_factory=dict)
    closure: dict[str, Value] = field(default_factory=dict)
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


def _may_be_plain(value: Value) -> bool:
    options = value.options if isinstance(value, Choice) else (value,)
    return all(is_plain(option) or isinstance(option, Unknown) for option in options)


def several(values: Iterable[Value]) -> Value:
    """The value that stands for several, of unknown number."""
    for value in (values := list(values)):
        for option in value.options if isinstance(value, Choice) else (value,):
            if isinstance(option, Instance) and option.is_module:
                option.mark_example()
    return Choice.of(values, CHOSEN_AT_RUN_TIME)


def distinct(values: Iterable[Value]) -> list[Value]:
    """The different values, in order; no more than it takes to see that there are too many for a choice."""
    found: list[Value] = []
    for value in values:
        for option in value.options if isinstance(value, Choice) else (value,):
            _add_distinct(found, option)
        if len(found) > _MOST_CHOICES:
            break
    return found


def _add_distinct(found: list[Value], option: Value) -> None:
    for index, other in enumerate(found):
        if is_same(other, option):
            return
        common = _common(other, option) if isinstance(other, Instance) else None
        if common is not None:
            found[index] = common
            return
    found.append(option)


def _common(one: Value, other: Value, depth: int = 0) -> Instance | None:
    """An instance with what two instances of one class have in common; None if their modules differ."""
    if not (isinstance(one, Instance) and isinstance(other, Instance) and is_same(one.made_by, other.made_by)):
        return None
    if one.attributes.keys() != other.attributes.keys() or depth > _DEEPEST_COMPARED:
        return None
    common: dict[str, Value] = {}
    for name, value in one.attributes.items():
        another = other.attributes[name]
        if is_same(value, another):
            common[name] = value
        elif _may_be_plain(value) and _may_be_plain(another):
            common[name] = Unknown()
        elif (inner := _common(value, another, depth + 1)) is not None:
            common[name] = inner
        else:
            return None
    made = Instance(one.made_by, common, one.is_module, {**one.replaced, **other.replaced})
    made.incomplete_reason = one.incomplete_reason or other.incomplete_reason
    made.is_example = one.is_example or other.is_example
    return made


def matches_pattern(pattern: str, name: str) -> bool:
    """Whether a name has the form of a pattern, in which `*` stands for any characters."""
    if pattern == ANY_INDEX:
        return name.isdecimal()
    first, *parts = pattern.split(ANY_NAME)
    if not parts or not name.startswith(first):
        return not parts and name == first
    rest = name[len(first) :]
    for part in parts[:-1]:
        rest = rest.partition(part)[2] if part in rest else ""
    return rest.endswith(parts[-1])


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
