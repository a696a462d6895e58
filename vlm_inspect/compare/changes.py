"""What is not the same at one place of two trees, and such changes told together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Generic, Literal, TypeVar

from msgspec import Struct

from vlm_inspect.compare.patterns import ancestors, folded_path
from vlm_inspect.difference import PathChange
from vlm_inspect.tree import Shape

Value = TypeVar("Value", str, Shape)


class Differing(Struct, Generic[Value], frozen=True):
    """A module or parameter that came, went, or became something else. Paths are whole."""

    old: str | None
    """Its path in the old tree; None where it came."""
    new: str | None
    before: Value | None
    """A module's class, a parameter's shape; None where there was none."""
    after: Value | None

    @property
    def ends(self) -> set[str]:
        """Its paths."""
        return {path for path in (self.old, self.new) if path is not None}

    @property
    def path(self) -> str:
        """The path that it is told by: of what went the old one."""
        return self.new if self.new is not None else self.old or ""

    @property
    def is_changed(self) -> bool:
        """Whether it neither came nor went."""
        return self.old is not None and self.new is not None


ModuleChange = Differing[str]
ParameterChange = Differing[Shape]


def differing(
    old: Mapping[str, Value], new: Mapping[str, Value], pairs: Mapping[str, str]
) -> Iterator[Differing[Value]]:
    """What is not the same, where `pairs` says which path of the new tree is which of the old one."""
    for path, was in old.items():
        place = pairs.get(path)
        if place is None:
            yield Differing(path, None, was, None)
        elif was != new[place]:
            yield Differing(path, place, was, new[place])
    there = set(pairs.values())
    yield from (Differing(None, path, None, now) for path, now in new.items() if path not in there)


def folded(
    what: Literal["module", "parameter"], changes: Iterable[ModuleChange] | Iterable[ParameterChange]
) -> Iterator[PathChange]:
    """Changes of one kind from one pattern of paths to another as one, with their number."""
    counted: Counter[tuple[str | None, ...]] = Counter()
    for change in changes:
        old, new = _pattern(change.old), _pattern(change.new)
        counted[old, new, _said(change.before), _said(change.after)] += 1
    for (old, new, before, after), count in counted.items():
        path = new if new is not None else old or ""
        yield PathChange(path, what, count, before, after, None if old == path or new is None else old)


def outermost(changes: Sequence[ModuleChange]) -> list[ModuleChange]:
    """Without what came or went only because the module above it did."""
    above = gone(changes)
    return [change for change in changes if not is_in(change, above, change.path.rpartition(".")[0])]


def gone(changes: Iterable[ModuleChange]) -> set[tuple[str, bool]]:
    """The modules that went or came, and which of the two."""
    return {(change.path, change.new is None) for change in changes if not change.is_changed}


def is_in(change: ModuleChange | ParameterChange, modules: Collection[tuple[str, bool]], place: str) -> bool:
    """Whether something went or came with a module at or above a place that did the same."""
    return not change.is_changed and any((above, change.new is None) in modules for above in ancestors(place))


def _pattern(path: str | None) -> str | None:
    return None if path is None else folded_path(path)


def _said(value: str | Shape | None) -> str | None:
    return " x ".join(map(str, value)) if isinstance(value, tuple) else value
