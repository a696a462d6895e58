"""One model's answer: source → tree → anatomy. The program on one screen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from vlm_inspect import builders, sources
from vlm_inspect.architecture import Architecture
from vlm_inspect.asking import Asking
from vlm_inspect.builder import Builder
from vlm_inspect.checkpoint import Checkpoint
from vlm_inspect.errors import NotNativeError
from vlm_inspect.ref import ModelRef
from vlm_inspect.snapshot import Snapshot
from vlm_inspect.tree import ModuleTree

if TYPE_CHECKING:  # who asks for snapshots has no use for the cache, and the other way round
    from vlm_inspect.cache.entry import Answer
    from vlm_inspect.snapshot_files import Stored

_DEFAULTS = Asking()


@dataclass(frozen=True, slots=True)
class Inspection:
    """One model's answer: its record, and the tree where one was built and asked for."""

    architecture: Architecture
    tree: ModuleTree | None = None
    notes: tuple[str, ...] = ()
    """What the source had to say: the Hub was not reached …"""
    no_tree: str = ""
    """Why there is none."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A model as it would be kept, and what its source had to say."""

    stored: Stored
    notes: tuple[str, ...] = ()

    @property
    def snapshot(self) -> Snapshot:
        """What of it is compared."""
        return self.stored.snapshot


class NotKeptError(Exception):
    """No answer is kept; for those who ask for kept ones only."""


@dataclass(frozen=True, slots=True)
class Found:
    """A model that was looked up: what is known before anything is built."""

    ref: ModelRef
    source: Checkpoint | Snapshot


def examine(
    model: str, *, revision: str | None = None, options: Asking = _DEFAULTS, with_tree: bool = True
) -> Inspection:
    """A model's record, with its module tree beside it. A snapshot file is answered as it is.

    Raises VlmInspectError: its message says what happened, its hint what to do.
    """
    return answer(look_up(model, revision=revision, options=options), options, with_tree=with_tree)


def take(model: str, *, revision: str | None = None, options: Asking = _DEFAULTS) -> Taken:
    """A model as it is compared and kept."""
    from vlm_inspect.snapshot_files import Stored

    inspection = examine(model, revision=revision, options=options)
    ref = ModelRef.parse(model, revision)
    follows = None if ref.is_commit else ref.revision
    snapshot = Snapshot.of(inspection.architecture, inspection.tree)
    return Taken(Stored(snapshot, follows), inspection.notes)


def look_up(model: str, *, revision: str | None = None, options: Asking = _DEFAULTS) -> Found:
    """The cheap half of an answer, which waits for files and the Hub; any thread may do it."""
    ref = ModelRef.parse(model, revision)
    if ref.path is not None:
        from vlm_inspect.snapshot_files import read_if_snapshot

        if (stored := read_if_snapshot(ref.path)) is not None:
            return Found(ref, stored.snapshot)
    return Found(ref, sources.load(ref, options))


def answer(
    found: Found, options: Asking = _DEFAULTS, *, with_tree: bool = True, kept_only: bool = False
) -> Inspection:
    """The other half, which imports the libraries and builds, where no such answer is kept.

    Raises NotKeptError where that is so, and `kept_only`.
    """
    if isinstance(found.source, Snapshot):
        return _from_snapshot(found.source)
    checkpoint = found.source
    new = _nothing_new if kept_only else _new
    made = builders.first(
        checkpoint, found.ref, options, partial(_made, checkpoint, options, new, with_tree=with_tree)
    )
    notes = (*checkpoint.notes, *made.notes)
    if isinstance(made, builders.NotBuilt):
        from vlm_inspect.anatomy import describe_config

        return Inspection(describe_config(checkpoint, made.why), None, notes, made.why.message)
    return Inspection(made.architecture, made.tree, notes)


def build_key(found: Found, options: Asking = _DEFAULTS) -> str | None:
    """The same for models that one build would answer; None where that cannot be said."""
    if isinstance(found.source, Snapshot):
        return None
    return _address(found.source, options, options.builder or "transformers")


def _made(
    checkpoint: Checkpoint,
    options: Asking,
    new: Callable[[Checkpoint, builders.Way, str | None], Answer],
    way: builders.Way,
    *,
    with_tree: bool,
) -> Answer:
    """The kept answer, or a `new` one. Raises NotNativeError, kept too, and what the builder raises."""
    address = _address(checkpoint, options, way.builder)
    if address is None:
        return new(checkpoint, way, None)
    from vlm_inspect.cache import store

    kept = store.shared().get(address, checkpoint.identity, with_tree=with_tree)
    if isinstance(kept, NotNativeError):
        raise kept
    return kept or new(checkpoint, way, address)


def _nothing_new(*_: object) -> Answer:
    raise NotKeptError


def _new(checkpoint: Checkpoint, way: builders.Way, address: str | None) -> Answer:
    from vlm_inspect.anatomy import describe
    from vlm_inspect.build.missing_packages import note
    from vlm_inspect.cache import store
    from vlm_inspect.cache.entry import Answer

    try:
        built = way.build()
    except NotNativeError as error:
        if address is not None:
            store.shared().put(address, error)
        raise
    unbuilt = tuple(note(path, why) for path, why in built.tree.unbuilt.items())
    record = describe(built.tree, checkpoint.identity, built.builder)
    made = Answer(record, built.tree, (*built.notes, *unbuilt))
    if address is not None and built.lasting:
        store.shared().put(address, made)
    return made


def _address(checkpoint: Checkpoint, options: Asking, builder: Builder) -> str | None:
    """The key under which a builder's answer is kept; None where nothing is."""
    if not options.cache:
        return None
    from vlm_inspect.cache import key

    if builder == "transformers":
        return key.of_configuration(builder, checkpoint.config)
    return key.of_commit(builder, checkpoint.config, checkpoint.identity)


def _from_snapshot(snapshot: Snapshot) -> Inspection:
    record = snapshot.architecture
    architecture = replace(record, model=replace(record.model, source="snapshot"))
    if snapshot.modules is None:
        return Inspection(architecture, no_tree="the snapshot file holds none.")
    tree = ModuleTree(
        snapshot.modules,
        record.parameters.ties,
        notes=record.notes,
        unbuilt=record.unbuilt,
        versions=record.versions,
    )
    return Inspection(architecture, tree)
