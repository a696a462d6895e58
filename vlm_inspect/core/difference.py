"""Difference: the result of comparing two models.

Facts of components are compared by name (`layers 24 → 27`), modules and parameters by path. A renamed subtree
is one move. Paths are patterns: `*` stands for a layer's number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct, field

from vlm_inspect.core.architecture import Role
from vlm_inspect.core.display import Displayed
from vlm_inspect.core.model_ref import ModelIdentity

PlainValue = bool | int | float | str | tuple[int, ...] | tuple[str, ...]


class KindValue(Struct, frozen=True):
    """The value of a fact for one kind of layers or one stack, where the kinds differ."""

    kind: str
    """`full attention`; of several stacks with the stack: `decoder, full attention`."""
    value: PlainValue


Value = PlainValue | tuple[KindValue, ...]
ChangeKind = Literal["added", "removed", "changed"]


class Change(Struct, frozen=True):
    """A fact that differs. A fact that several components share (the vocabulary) is one change."""

    roles: tuple[Role, ...]
    """Roles of its components; empty for a fact of the whole model."""
    field: str
    """`layers`, `norm eps`; `component` for an added or removed component."""
    before: Value | None = None
    """None if the fact was added."""
    after: Value | None = None
    """None if it was removed."""
    pairs: tuple[int, ...] = ()
    """Indices into `Difference.pairs`; empty for a fact of the whole model."""

    @property
    def kind(self) -> ChangeKind:
        """Whether the fact was added, removed or changed."""
        return _kind(self.before, self.after)


class Incomparable(Struct, frozen=True):
    """A fact that is unknown in one model or both. Unknown is equal to nothing."""

    roles: tuple[Role, ...]
    field: str
    before: str | None = None
    """Why it is unknown before; None if it is known."""
    after: str | None = None
    pairs: tuple[int, ...] = ()
    """Indices into `Difference.pairs`; empty for a fact of the whole model."""


class Move(Struct, frozen=True):
    """A module or parameter with the same shapes under another path."""

    before: str
    after: str
    tensors: int
    """Number of parameter tensors whose path changes, and whose shape does not."""
    what: Literal["module", "parameter"] = "module"
    """A module moves with its descendants; a renamed parameter moves alone."""


class PathChange(Struct, frozen=True):
    """Modules or parameters at one path pattern that were added, removed or changed."""

    path: str
    """The new path; the old one if it was removed."""
    what: Literal["module", "parameter"]
    count: int
    before: str | None = None
    """Class of a module, shape of a parameter; None if it was added."""
    after: str | None = None
    moved_from: str | None = None
    """The old path, if it changed and moved."""

    @property
    def ends(self) -> tuple[str, ...]:
        """Its paths in both models."""
        return (self.path,) if self.moved_from is None else (self.moved_from, self.path)

    @property
    def kind(self) -> ChangeKind:
        """Whether it was added, removed or changed."""
        return _kind(self.before, self.after)


class ComponentPair(Struct, frozen=True):
    """A component and its counterpart in the other model."""

    role: Role
    before: str | None = None
    """Its first path; None if it has no counterpart."""
    after: str | None = None
    parameters_before: int | None = None
    parameters_after: int | None = None
    class_before: str | None = None
    class_after: str | None = None
    layers_before: int | None = None
    layers_after: int | None = None


class Difference(Displayed, Struct, frozen=True):
    """The differences between two models. Empty if there are none."""

    before: ModelIdentity
    after: ModelIdentity
    total_before: int | None = None
    total_after: int | None = None
    pairs: tuple[ComponentPair, ...] = ()
    """All components, changed or not."""
    changes: tuple[Change, ...] = ()
    moves: tuple[Move, ...] = ()
    paths: tuple[PathChange, ...] = ()
    """Changed paths that no changed fact and no move explains."""
    incomparable: tuple[Incomparable, ...] = ()
    versions_before: Mapping[str, str] = field(default_factory=dict)
    versions_after: Mapping[str, str] = field(default_factory=dict)
    uncertain_before: str | None = None
    """Why the total before depends on a checkpoint that was not available; None if it does not."""
    uncertain_after: str | None = None

    def summary(self) -> str:
        """Return `org/a and org/b: 3 changed, 1 moved`."""
        counts = ", ".join(f"{count:,} {kind}" for kind, count in self.counts().items() if count)
        return f"{self.before.id} and {self.after.id}: {counts or 'no difference'}"

    @property
    def empty(self) -> bool:
        """Whether no known fact and no path differs."""
        return not (self.changes or self.moves or self.paths)

    def counts(self) -> dict[str, int]:
        """Return how many facts and paths were changed, moved, added and removed."""
        kinds = [change.kind for change in self.changes] + [change.kind for change in self.paths]
        return {
            "changed": kinds.count("changed"),
            "moved": len(self.moves),
            "added": kinds.count("added"),
            "removed": kinds.count("removed"),
        }


def _kind(before: object, after: object) -> ChangeKind:
    if before is None:
        return "added"
    return "removed" if after is None else "changed"
