"""LoadReport: whether the tensors of a checkpoint or an adapter are those that the model expects.

A tensor has two names: its key in the checkpoint, and its path in the built model. The library's loader
turns the one into the other; what is said of a tensor says both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct, field

from vlm_inspect.architecture import Role
from vlm_inspect.ref import ModelIdentity
from vlm_inspect.tree import ModuleTree, Shape

Kind = Literal["missing", "unexpected", "mismatched"]
LoadStatus = Literal["ok", "mismatch", "unknown"]
Subject = Literal["checkpoint", "adapter"]


class LoadingInfo(Struct, frozen=True):
    """What transformers' own loader makes of a checkpoint's names and shapes."""

    tree: ModuleTree
    shapes: Mapping[str, Shape]
    """Every parameter and persistent buffer of the model by its path."""
    paths: Mapping[str, str]
    """Key in the checkpoint → path in the model, whether the model has it or not."""
    converted: frozenset[str] = frozenset()
    """The keys that are not only renamed: several make one parameter, or one makes several."""
    not_by_peft: frozenset[str] = frozenset()
    """Of an adapter: the keys that the library's own loader finds a place for, and PEFT's does not."""
    missing: frozenset[str] = frozenset()
    """Paths that got nothing and needed something: no ties, no buffers that the class computes itself."""
    unexpected: frozenset[str] = frozenset()
    """Keys that go nowhere."""
    ignored: frozenset[str] = frozenset()
    """Keys that go nowhere, and that the class says to leave out."""
    tied: frozenset[str] = frozenset()
    """Paths that are another parameter, and need nothing of their own."""
    mismatched: Mapping[str, tuple[Shape | None, Shape]] = field(default_factory=dict)
    """Path → what came (None where it could not be put together) and what the model has."""


class Mismatch(Struct, frozen=True):
    """Tensors that do not fit, in the same way and at the same place of each layer."""

    kind: Kind
    path: str = ""
    """In the model; `*` for the number where it is of several layers. Empty where there is no such path."""
    key: str = ""
    """In the checkpoint; of what is missing the key that it would have. Empty where that is unknown."""
    count: int = 1
    """Tensors."""
    parameters: int | None = None
    """Numbers in all of them."""
    is_module: bool = False
    """Whether it is a whole module, with all tensors in it, and not one tensor (of each layer)."""
    expected: Shape | None = None
    """Of one tensor: its shape in the model."""
    stored: Shape | None = None
    """Of one tensor: its shape in the checkpoint."""
    role: Role | None = None
    """Of the component that it is in; None where it is in none."""
    component: str | None = None
    """That component's path."""
    reason: str = ""
    """Why, where more can be said: `model-00002-of-00004.safetensors is not there`."""
    names: tuple[str, ...] = ()
    """Each tensor's own name: paths, and of what is unexpected keys."""


class KeyRenaming(Struct, frozen=True):
    """A part of the checkpoint that lies elsewhere in the model."""

    key: str
    path: str
    count: int
    """Tensors."""
    is_converted: bool = False
    """Whether several tensors become one, or one several."""


class ComponentLoad(Struct, frozen=True):
    """How much of a component is in the checkpoint; of an adapter, how many of its tensors reach it."""

    role: Role
    path: str | None
    loaded: int
    expected: int | None = None
    """Tensors of the component; None of an adapter, which reaches what it likes."""


class LoadReport(Struct, frozen=True):
    """Whether it fits, and what does not."""

    model: ModelIdentity
    model_class: str | None
    subject: Subject
    tensors: int
    """Tensors in the files."""
    loaded: int
    """Of these: how many end where they should, in their shape, those that the class leaves out aside."""
    base: ModelIdentity | None = None
    """Of an adapter: the model that it is put on."""
    mismatches: tuple[Mismatch, ...] = ()
    components: tuple[ComponentLoad, ...] = ()
    renamings: tuple[KeyRenaming, ...] = ()
    missing_files: Mapping[str, int] = field(default_factory=dict)
    """Files that the index names and that are not there, or not to their end: how many tensors each has."""
    ignored: int = 0
    """Tensors that the class leaves out."""
    uncertain: tuple[str, ...] = ()
    """What could not be checked, a sentence each."""
    notes: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def verdict(self) -> LoadStatus:
        """Whether it fits. What is uncertain does not make good what is wrong."""
        if self.mismatches or self.missing_files:
            return "mismatch"
        return "unknown" if self.uncertain else "ok"

    def counts(self) -> dict[Kind, int]:
        """How many tensors are missing, unexpected and mismatched."""
        counts: dict[Kind, int] = {"missing": 0, "unexpected": 0, "mismatched": 0}
        for mismatch in self.mismatches:
            counts[mismatch.kind] += mismatch.count
        return counts
