"""Difference: what is not the same in two models.

Facts of components are compared by name (`layers 24 → 27`), modules and parameters by path. What was
renamed is a move, and a subtree that moved is one. Paths are patterns: `*` stands for a layer's number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct, field

from vlm_inspect.core.architecture import Role
from vlm_inspect.core.model_ref import ModelIdentity

Value = bool | int | float | str | tuple[int, ...] | tuple[str, ...]
ChangeKind = Literal["added", "removed", "changed"]


class Change(Struct, frozen=True):
    """A fact that differs. One that several components share (the vocabulary) is one change."""

    roles: tuple[Role, ...]
    """The components that it is of; none where it is of the whole model."""
    field: str
    """`layers`, `norm eps`; `component` where a whole component came or went."""
    before: Value | None = None
    """None where there was none."""
    after: Value | None = None
    pairs: tuple[int, ...] = ()
    """Which of the difference's pairs it is of; none where it is of the whole model."""

    @property
    def kind(self) -> ChangeKind:
        """Whether the fact came, went or changed."""
        if self.before is None:
            return "added"
        return "removed" if self.after is None else "changed"


class Incomparable(Struct, frozen=True):
    """A fact that is unknown on one side or both, and therefore equal to nothing."""

    roles: tuple[Role, ...]
    field: str
    before: str | None = None
    """Why it is unknown before; None where it is known."""
    after: str | None = None
    pairs: tuple[int, ...] = ()
    """Which of the difference's pairs it is of; none where it is of the whole model."""


class Move(Struct, frozen=True):
    """A subtree, or a parameter, that kept its shapes under another path."""

    before: str
    after: str
    parameters: int
    """Parameters whose path changed with it."""
    what: Literal["module", "parameter"] = "module"
    """A module moves with all that is below it; a parameter that was itself renamed has nothing below."""


class PathChange(Struct, frozen=True):
    """Modules or parameters at one pattern of paths that came, went, or became something else."""

    path: str
    """The new one; of what went the old one."""
    what: Literal["module", "parameter"]
    count: int
    before: str | None = None
    """A module's class, a parameter's shape; None where there was none."""
    after: str | None = None
    moved_from: str | None = None
    """Of what became something else and moved: its old path."""

    @property
    def ends(self) -> tuple[str, ...]:
        """Its paths, in either model."""
        return (self.path,) if self.moved_from is None else (self.moved_from, self.path)

    @property
    def kind(self) -> ChangeKind:
        """Whether it came, went or changed."""
        if self.before is None:
            return "added"
        return "removed" if self.after is None else "changed"


class ComponentPair(Struct, frozen=True):
    """A component of the one model and its counterpart in the other, for showing them side by side."""

    role: Role
    before: str | None = None
    """Its first path; None where it has no counterpart."""
    after: str | None = None
    parameters_before: int | None = None
    parameters_after: int | None = None
    class_before: str | None = None
    class_after: str | None = None
    layers_before: int | None = None
    layers_after: int | None = None


class Difference(Struct, frozen=True):
    """What is not the same in two models. Empty where nothing is."""

    before: ModelIdentity
    after: ModelIdentity
    total_before: int | None = None
    total_after: int | None = None
    pairs: tuple[ComponentPair, ...] = ()
    """All components, changed or not."""
    changes: tuple[Change, ...] = ()
    moves: tuple[Move, ...] = ()
    paths: tuple[PathChange, ...] = ()
    """What came, went or became something else, and no change of a fact or move explains."""
    incomparable: tuple[Incomparable, ...] = ()
    versions_before: Mapping[str, str] = field(default_factory=dict)
    versions_after: Mapping[str, str] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether nothing that is known differs."""
        return not (self.changes or self.moves or self.paths)

    def counts(self) -> dict[str, int]:
        """How many facts and paths were changed, moved, added and removed."""
        kinds = [change.kind for change in self.changes] + [change.kind for change in self.paths]
        return {
            "changed": kinds.count("changed"),
            "moved": len(self.moves),
            "added": kinds.count("added"),
            "removed": kinds.count("removed"),
        }
