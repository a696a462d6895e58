"""Misfits, tensor by tensor, folded into what a reader can take in: whole modules, and layers as one."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence

from msgspec import Struct

from vlm_inspect.architecture import Component
from vlm_inspect.fit import Kind, Mismatch
from vlm_inspect.patterns import folded_path
from vlm_inspect.tree import Shape, is_below


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
