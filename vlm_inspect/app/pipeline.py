"""One model's answer: source → tree → anatomy. The program on one screen."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from vlm_inspect import builders, sources
from vlm_inspect.builders import Way
from vlm_inspect.core.architecture import Architecture, Builder
from vlm_inspect.core.checkpoint import Checkpoint
from vlm_inspect.core.errors import NotNativeError
from vlm_inspect.core.model_ref import ModelRef
from vlm_inspect.core.module_tree import ModuleTree
from vlm_inspect.core.options import InspectOptions
from vlm_inspect.core.snapshot import Snapshot

if TYPE_CHECKING:
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
    return _inspection(found, options, partial(get_or_build, options=options, with_tree=with_tree))


def known(found: Found, options: InspectOptions = _DEFAULTS, *, with_tree: bool = True) -> Inspection | None:
    """The answer, where nothing must be built for it. Raises what `answer` raises without building."""
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
        from vlm_inspect.anatomy.config_only import describe_config

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


class CacheMissError(Exception):
    """The cache has no result for this checkpoint."""


def get_or_build(
    checkpoint: Checkpoint, way: Way, *, options: InspectOptions, with_tree: bool
) -> CachedResult:
    """The cached result, or a new one. Raises NotNativeError, and what the builder raises."""
    key = _cache_key(checkpoint, way.builder, options)
    try:
        return _get(key, checkpoint, with_tree=with_tree)
    except CacheMissError:
        return _build(checkpoint, way, key)


def get_cached(checkpoint: Checkpoint, way: Way, *, options: InspectOptions, with_tree: bool) -> CachedResult:
    """The cached result. Raises CacheMissError, or NotNativeError if that is the cached result."""
    return _get(_cache_key(checkpoint, way.builder, options), checkpoint, with_tree=with_tree)


def shared_key(checkpoint: Checkpoint, options: InspectOptions) -> str | None:
    """A key that two models share if one build answers both; None if there is no such key."""
    return _cache_key(checkpoint, options.builder or "transformers", options)


def _get(key: str | None, checkpoint: Checkpoint, *, with_tree: bool) -> CachedResult:
    from vlm_inspect.storage.cache import default_cache

    found = default_cache().get(key, checkpoint.identity, with_tree=with_tree) if key is not None else None
    if isinstance(found, NotNativeError):
        raise found
    if found is None:
        raise CacheMissError
    return found


def _build(checkpoint: Checkpoint, way: Way, key: str | None) -> CachedResult:
    """A new result. It is cached if it has a key, and so is the NotNativeError if there is no class."""
    from vlm_inspect.anatomy.describe import describe
    from vlm_inspect.builders.transformers.missing import note
    from vlm_inspect.storage.cache import CachedResult, default_cache

    try:
        built = way.build()
    except NotNativeError as error:
        if key is not None:
            default_cache().put(key, error)
        raise
    unbuilt = tuple(note(path, why) for path, why in built.tree.missing_modules.items())
    record = describe(built.tree, checkpoint.identity, built.builder)
    result = CachedResult(record, built.tree, (*built.notes, *unbuilt))
    if key is not None and built.lasting:
        default_cache().put(key, result)
    return result


def _cache_key(checkpoint: Checkpoint, builder: Builder, options: InspectOptions) -> str | None:
    if not options.use_cache:
        return None
    from vlm_inspect.storage.cache import key_for_commit, key_for_config

    if builder == "transformers":
        return key_for_config(builder, checkpoint.config)
    return key_for_commit(builder, checkpoint.config, checkpoint.identity)
