"""One model's answer: source → tree → anatomy. The program on one screen."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from vlm_inspect import builders, sources
from vlm_inspect.architecture import Architecture
from vlm_inspect.checkpoint import Checkpoint
from vlm_inspect.ref import ModelRef
from vlm_inspect.snapshot import Snapshot
from vlm_inspect.sources.options import InspectOptions
from vlm_inspect.tree import ModuleTree

if TYPE_CHECKING:  # who asks for snapshots has no use for the cache, and the other way round
    from vlm_inspect.builders import Way
    from vlm_inspect.storage.cache import CachedResult
    from vlm_inspect.storage.snapshots import Stored

_DEFAULTS = InspectOptions()


class Inspection(Struct, frozen=True):
    """One model's answer: its record, and the tree where one was built and asked for."""

    architecture: Architecture
    tree: ModuleTree | None = None
    notes: tuple[str, ...] = ()
    """What the source had to say: the Hub was not reached …"""
    no_tree: str = ""
    """Why there is none."""


class Taken(Struct, frozen=True):
    """A model as it would be kept, and what its source had to say."""

    stored: Stored
    notes: tuple[str, ...] = ()

    @property
    def snapshot(self) -> Snapshot:
        """What of it is compared."""
        return self.stored.snapshot


class Found(Struct, frozen=True):
    """A model that was looked up: what is known before anything is built."""

    ref: ModelRef
    source: Checkpoint | Snapshot


def examine(
    model: str, *, revision: str | None = None, options: InspectOptions = _DEFAULTS, with_tree: bool = True
) -> Inspection:
    """A model's record, with its module tree beside it. A snapshot file is answered as it is.

    Raises VlmInspectError: its message says what happened, its hint what to do.
    """
    return answer(look_up(model, revision=revision, options=options), options, with_tree=with_tree)


def take(model: str, *, revision: str | None = None, options: InspectOptions = _DEFAULTS) -> Taken:
    """A model as it is compared and kept."""
    found = look_up(model, revision=revision, options=options)
    return taken(found.ref, answer(found, options))


def taken(ref: ModelRef, inspection: Inspection) -> Taken:
    """An answer, with its tree, as it is compared and kept."""
    from vlm_inspect.storage.snapshots import Stored

    follows = None if ref.is_commit else ref.revision
    snapshot = Snapshot.of(inspection.architecture, inspection.tree)
    return Taken(Stored(snapshot, follows), inspection.notes)


def look_up(model: str, *, revision: str | None = None, options: InspectOptions = _DEFAULTS) -> Found:
    """The cheap half of an answer, which waits for files and the Hub; any thread may do it."""
    ref = ModelRef.parse(model, revision)
    if ref.path is not None:
        from vlm_inspect.storage.snapshots import read_if_snapshot

        if (stored := read_if_snapshot(ref.path)) is not None:
            return Found(ref, stored.snapshot)
    return Found(ref, sources.load(ref, options))


def answer(found: Found, options: InspectOptions = _DEFAULTS, *, with_tree: bool = True) -> Inspection:
    """The other half, which imports the libraries and builds, where no such answer is kept."""
    from vlm_inspect.kept_answers import get_or_build

    return _inspection(found, options, partial(get_or_build, options=options, with_tree=with_tree))


def known(found: Found, options: InspectOptions = _DEFAULTS, *, with_tree: bool = True) -> Inspection | None:
    """The answer, where nothing must be built for it. Raises what `answer` raises without building."""
    from vlm_inspect.kept_answers import CacheMissError, get_cached

    try:
        return _inspection(found, options, partial(get_cached, options=options, with_tree=with_tree))
    except CacheMissError:
        return None


def _inspection(
    found: Found, options: InspectOptions, make: Callable[[Checkpoint, Way], CachedResult]
) -> Inspection:
    if isinstance(found.source, Snapshot):
        return _from_snapshot(found.source)
    checkpoint = found.source
    made = builders.first(checkpoint, found.ref, options, partial(make, checkpoint))
    notes = (*checkpoint.notes, *made.notes)
    if isinstance(made, builders.NotBuilt):
        from vlm_inspect.anatomy import describe_config

        return Inspection(describe_config(checkpoint, made.why), None, notes, made.why.message)
    return Inspection(made.architecture, made.tree, notes)


def _from_snapshot(snapshot: Snapshot) -> Inspection:
    record = snapshot.architecture
    architecture = replace(record, model=replace(record.model, source="snapshot"))
    if snapshot.modules is None:
        return Inspection(architecture, no_tree="the snapshot file holds none.")
    tree = ModuleTree(
        snapshot.modules,
        record.parameters.ties,
        notes=record.notes,
        missing_modules=record.missing_modules,
        versions=record.versions,
    )
    return Inspection(architecture, tree)
