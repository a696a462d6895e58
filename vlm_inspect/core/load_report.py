"""LoadReport: whether the tensors of a checkpoint or an adapter are those that the model expects.

A tensor has two names: its key in the checkpoint, and its path in the built model. The library's loader
maps keys to paths; a mismatch has both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from msgspec import Struct, field

from vlm_inspect.core.architecture import Role
from vlm_inspect.core.display import Displayed
from vlm_inspect.core.model_ref import ModelIdentity
from vlm_inspect.core.module_tree import ModuleTree, Shape

Kind = Literal["missing", "unexpected", "mismatched"]
LoadStatus = Literal["ok", "mismatch", "unknown"]
Subject = Literal["checkpoint", "adapter"]


class LoadingInfo(Struct, frozen=True):
    """The result of transformers' loader for a checkpoint's names and shapes."""

    tree: ModuleTree
    shapes: Mapping[str, Shape]
    """Every parameter and persistent buffer of the model by its path."""
    paths: Mapping[str, str]
    """Key in the checkpoint → path in the model, whether the model has it or not."""
    converted: frozenset[str] = frozenset()
    """Keys that are merged into one parameter or split into several."""
    not_by_peft: frozenset[str] = frozenset()
    """Adapter keys that transformers loads and PEFT does not."""
    missing: frozenset[str] = frozenset()
    """Paths without a tensor that need one: no ties, no buffers that the class computes itself."""
    unexpected: frozenset[str] = frozenset()
    """Keys without a place in the model."""
    ignored: frozenset[str] = frozenset()
    """Unexpected keys that the class declares as ignored."""
    tied: Mapping[str, str] = field(default_factory=dict)
    """Path → the path that the class ties it to."""
    wrapper: str = ""
    """What unexpected keys have too much: a leading prefix that ends with a dot, or a name inside of them."""
    unwrapped: Mapping[str, str] = field(default_factory=dict)
    """Unexpected key → the path without a tensor that it has if `wrapper` is left out."""
    mismatched: Mapping[str, tuple[Shape | None, Shape]] = field(default_factory=dict)
    """Path → shape in the checkpoint (None if its tensors could not be merged) and shape in the model."""


class Mismatch(Struct, frozen=True):
    """Tensors with the same problem, at the same place of each layer."""

    kind: Kind
    path: str = ""
    """Path in the model, `*` for the numbers of several layers; empty if there is none."""
    key: str = ""
    """Key in the checkpoint; of missing tensors the expected key, or empty if it is not known."""
    count: int = 1
    """Number of tensors."""
    parameters: int | None = None
    """Number of parameters in all of them."""
    is_module: bool = False
    """Whether it is a whole module with all its tensors."""
    expected: Shape | None = None
    """Shape in the model, of a single tensor."""
    stored: Shape | None = None
    """Shape in the checkpoint, of a single tensor."""
    role: Role | None = None
    """Role of its component; None if it is in none."""
    component: str | None = None
    """Path of its component."""
    reason: str = ""
    """The reason, if known: `model-00002-of-00004.safetensors is not there`."""
    names: tuple[str, ...] = ()
    """Paths of all tensors; keys of unexpected ones."""


class KeyRenaming(Struct, frozen=True):
    """A prefix of the checkpoint that has another name in the model."""

    key: str
    path: str
    count: int
    """Number of tensors."""
    is_converted: bool = False
    """Whether tensors are merged or split."""


class ComponentLoad(Struct, frozen=True):
    """How many tensors of a component are loaded; of an adapter, how many of its tensors target it."""

    role: Role
    path: str | None
    loaded: int
    expected: int | None = None
    """Tensors of the component; None for an adapter."""


class LoadReport(Displayed, Struct, frozen=True):
    """Whether the tensors load into the model, and what does not."""

    model: ModelIdentity
    model_class: str | None
    subject: Subject
    tensors: int
    """Number of tensors in the files."""
    loaded: int
    """Number of tensors that load with the right shape, without ignored ones."""
    base: ModelIdentity | None = None
    """Base model of an adapter."""
    causes: tuple[str, ...] = ()
    """What explains many mismatches at once, one sentence each."""
    head: str = ""
    """What the loader does with the output embeddings, if it does not just load them."""
    mismatches: tuple[Mismatch, ...] = ()
    components: tuple[ComponentLoad, ...] = ()
    renamings: tuple[KeyRenaming, ...] = ()
    missing_files: Mapping[str, int] = field(default_factory=dict)
    """Missing or truncated files of the index → number of tensors in each."""
    ignored: int = 0
    """Number of tensors that the class declares as ignored."""
    uncertain: tuple[str, ...] = ()
    """What could not be checked, one sentence each."""
    notes: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)

    def summary(self) -> str:
        """Return `org/name: mismatch, 10 of 12 tensors load`."""
        return f"{self.model.id}: {self.verdict}, {self.loaded:,} of {self.tensors:,} tensors load"

    @property
    def verdict(self) -> LoadStatus:
        """`mismatch` if anything is wrong, even if something else is uncertain."""
        if self.mismatches or self.missing_files:
            return "mismatch"
        return "unknown" if self.uncertain else "ok"

    def counts(self) -> dict[Kind, int]:
        """Return how many tensors are missing, unexpected and mismatched."""
        kinds: tuple[Kind, ...] = get_args(Kind)
        return {kind: sum(each.count for each in self.mismatches if each.kind == kind) for kind in kinds}
