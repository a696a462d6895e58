"""Misfits, tensor by tensor, folded into what a reader can take in: whole modules, and layers as one."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from vlm_inspect.core.architecture import Component
from vlm_inspect.core.load_report import KeyRenaming, Kind, Mismatch
from vlm_inspect.core.module_tree import Pattern, Shape, folded_path, is_below, split, text


class Tensor(Struct, frozen=True):
    """One tensor that does not fit."""

    kind: Kind
    path: str = ""
    key: str = ""
    expected: Shape | None = None
    stored: Shape | None = None
    reason: str = ""

    @property
    def name(self) -> str:
        """By what it is known: what is unexpected by its key, the rest by its path."""
        return self.key if self.kind == "unexpected" else self.path

    @property
    def parameters(self) -> int | None:
        """Numbers in it, where its shape is known."""
        shape = self.expected if self.kind == "missing" else self.stored or self.expected
        return math.prod(shape) if shape is not None else None


class _Place(Struct, frozen=True):
    """Where a tensor is told: itself, or the highest module that is lost with all that is in it."""

    tensor: Tensor
    name: str
    other: str
    """Its other name, cut at the same place; empty where it has none there."""

    @property
    def is_module(self) -> bool:
        return self.name != self.tensor.name

    def likeness(self, component: Component | None) -> tuple[object, ...]:
        """Equal for those that are told as one."""
        tensor = self.tensor
        shapes = () if self.is_module else (tensor.expected, tensor.stored)
        names = folded_path(self.name), folded_path(self.other), self.is_module
        return (tensor.kind, *names, tensor.reason, shapes, id(component))


def grouped(
    tensors: Sequence[Tensor], fitting: Collection[str], components: Sequence[Component]
) -> tuple[Mismatch, ...]:
    """The misfits of one kind, `fitting` being the names of what does fit, in the same name space."""
    places = list(_places(tensors, fitting))
    groups: dict[tuple[object, ...], list[_Place]] = {}
    owners: dict[tuple[object, ...], Component | None] = {}
    for place in places:
        owner = component_of(place.tensor.path, components)
        likeness = place.likeness(owner)
        groups.setdefault(likeness, []).append(place)
        owners[likeness] = owner
    return tuple(_misfit(group, owners[likeness]) for likeness, group in groups.items())


def component_of(path: str, components: Iterable[Component]) -> Component | None:
    """The innermost component that a path lies in."""
    found: tuple[int, Component | None] = (-1, None)
    for component in components:
        for root in component.paths:
            if path and is_below(path, root) and len(root) > found[0]:
                found = len(root), component
    return found[1]


def _places(tensors: Sequence[Tensor], fitting: Collection[str]) -> Iterator[_Place]:
    alive = {above for name in fitting for above in _above(name)}
    roots = {tensor: _root(tensor, alive) for tensor in tensors}
    sizes: dict[str, int] = {}
    for root in roots.values():
        sizes[root] = sizes.get(root, 0) + 1
    for tensor in tensors:
        root = roots[tensor]
        name = root if sizes[root] > 1 else tensor.name
        other = tensor.path if tensor.kind == "unexpected" else tensor.key
        yield _Place(tensor, name, _cut(other, tensor.name, name))


def _root(tensor: Tensor, alive: set[str]) -> str:
    """The highest module above a tensor with nothing in it that fits; a wrong shape concerns itself alone."""
    if tensor.kind == "mismatched":
        return tensor.name
    return next((above for above in _above(tensor.name) if above not in alive), tensor.name)


def _above(name: str) -> Iterator[str]:
    """Every module above a tensor, the highest first."""
    parts = name.split(".")
    return (".".join(parts[:length]) for length in range(1, len(parts)))


def _cut(other: str, name: str, root: str) -> str:
    """The other name of a root, where the names go on alike below it."""
    below = name[len(root) :]
    return other[: len(other) - len(below)] if other.endswith(below) else ""


def _misfit(places: Sequence[_Place], component: Component | None) -> Mismatch:
    first = places[0]
    names, others = {place.name for place in places}, {place.other for place in places}
    name = first.name if len(names) == 1 else folded_path(first.name)
    other = first.other if len(others) == 1 else folded_path(first.other)
    counts = [place.tensor.parameters for place in places]
    by_key = first.tensor.kind == "unexpected"
    return Mismatch(
        kind=first.tensor.kind,
        path=other if by_key else name,
        key=name if by_key else other,
        count=len(places),
        parameters=sum(count for count in counts if count is not None) if None not in counts else None,
        is_module=first.is_module,
        expected=None if first.is_module else first.tensor.expected,
        stored=None if first.is_module else first.tensor.stored,
        role=component.role if component else None,
        component=component.paths[0] if component and component.paths else None,
        reason=first.tensor.reason,
        names=tuple(place.tensor.name for place in places),
    )


Ends = tuple[Pattern, Pattern]

# parts that a path must share with another for that one's key to tell its own: below `model` lies everything
_TELLING = 2


class Names:
    """Where a checkpoint's keys lie in the model, learnt from those that have a place there."""

    def __init__(self, paths: Mapping[str, str], converted: frozenset[str] = frozenset()) -> None:
        """`paths`: key → path, of keys whose path the model has."""
        self._whole: dict[str, list[str]] = {}
        self._heads: dict[Pattern, Counter[Pattern]] = {}
        self._ends: Counter[tuple[Ends, bool]] = Counter()
        for key, path in paths.items():
            self._learn(split(key)[0], split(path)[0], is_converted=key in converted)
        self._has_renamings = any(key != path for key, path in paths.items())

    def key_of(self, path: str) -> str:
        """The key that a path would have in this checkpoint; several, where several make it; else empty.

        As the same place of other layers has it, or else as what lies beside it.
        """
        pattern, numbers = split(path)
        known = self._whole.get(text(pattern))
        if known:
            return " + ".join(_numbered(key, numbers) for key in known)
        if not self._has_renamings:
            return path
        for length in range(len(pattern) - 1, _TELLING - 1, -1):
            heads = self._heads.get(pattern[:length])
            if heads:
                head = heads.most_common(1)[0][0]
                return _numbered(text((*head, *pattern[length:])), numbers)
        return ""

    def renamings(self) -> tuple[KeyRenaming, ...]:
        """The parts that have another name in the model, those with most tensors first."""
        told = [
            KeyRenaming(text(key), text(path), count, is_converted)
            for ((key, path), is_converted), count in self._ends.items()
            if key != path
        ]
        return tuple(sorted(told, key=lambda each: (-each.count, each.key, each.path)))

    def _learn(self, key: Pattern, path: Pattern, *, is_converted: bool) -> None:
        written = self._whole.setdefault(text(path), [])
        if text(key) not in written:
            written.append(text(key))
        shared = _shared_end(key, path)
        heads = key[: len(key) - shared], path[: len(path) - shared]
        if not is_converted:
            # what is said of `model.layers` holds of everything below, so longer places learn it too
            for length in range(shared):
                longer = path[: len(heads[1]) + length]
                self._heads.setdefault(longer, Counter())[key[: len(heads[0]) + length]] += 1
        # an end of no part at all says little: `visual` → `model.visual`, not nothing → `model`
        room = 1 if not all(heads) and heads[0] != heads[1] else 0
        ends = key[: len(heads[0]) + room], path[: len(heads[1]) + room]
        self._ends[ends, is_converted] += 1


def _shared_end(key: Pattern, path: Pattern) -> int:
    """How many parts two names have in common, from the end."""
    count = 0
    for one, other in zip(reversed(key), reversed(path), strict=False):
        if one != other:
            break
        count += 1
    return count


def _numbered(pattern: str, numbers: tuple[str, ...]) -> str:
    """A pattern with a path's numbers put in; where it has more of them (experts), the rest stay `*`."""
    left = iter(numbers)
    return ".".join(next(left, "*") if part == "*" else part for part in pattern.split("."))
