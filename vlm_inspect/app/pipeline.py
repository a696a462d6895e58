"""Inspect one model: load it, build its module tree, describe the tree. The program on one screen."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from vlm_inspect import sources
from vlm_inspect.builders import order
from vlm_inspect.core.architecture import Architecture
from vlm_inspect.core.checkpoint import Checkpoint
from vlm_inspect.core.errors import NotNativeError, SourceError
from vlm_inspect.core.model_ref import ModelRef
from vlm_inspect.core.module_tree import ModuleTree
from vlm_inspect.core.options import Builder, InspectOptions
from vlm_inspect.core.snapshot import Snapshot

if TYPE_CHECKING:  # comparing snapshot files needs no cache
    from vlm_inspect.builders.order import Candidate
    from vlm_inspect.storage.cache import CachedResult
    from vlm_inspect.storage.snapshots import SnapshotFile

ModelLike = str | PathLike[str] | Mapping[str, Any]
"""A model's name or path, or its configuration: a dict, or an object of a configuration class of transformers."""
_DEFAULTS = InspectOptions()
_CONFIG_ONLY = "answered from config.json alone: "


class ResolvedModel(Struct, frozen=True):
    """A model whose files were found; nothing is built yet."""

    ref: ModelRef
    source: Checkpoint | Snapshot


class Inspection(Struct, frozen=True):
    """The result for one model."""

    architecture: Architecture
    tree: ModuleTree | None = None
    notes: tuple[str, ...] = ()
    """Notes of the source and the builder, for example that the Hub was not reached."""
    no_tree: str = ""
    """Why `tree` is None, if no tree was built."""


class SnapshotResult(Struct, frozen=True):
    """A model as a snapshot file stores it."""

    stored: SnapshotFile
    notes: tuple[str, ...] = ()

    @property
    def snapshot(self) -> Snapshot:
        """The part that is compared."""
        return self.stored.snapshot


def inspect_model(
    model: ModelLike, *, revision: str | None = None, options: InspectOptions = _DEFAULTS, with_tree: bool = True
) -> Inspection:
    """Return a model's record and its module tree; of a snapshot file, what the file holds.

    Raises:
        VlmInspectError: Its message says what happened, its hint what to do.

    """
    return build_result(resolve(model, revision=revision, options=options), options, with_tree=with_tree)


def take_snapshot(
    model: ModelLike, *, revision: str | None = None, options: InspectOptions = _DEFAULTS
) -> SnapshotResult:
    """Return a model as a snapshot file stores it. Raises as `inspect_model`."""
    resolved = resolve(model, revision=revision, options=options)
    return snapshot_result(resolved.ref, build_result(resolved, options))


def snapshot_result(ref: ModelRef, inspection: Inspection) -> SnapshotResult:
    """Turn a result with its tree into a snapshot."""
    from vlm_inspect.storage.snapshots import SnapshotFile

    follows = None if ref.is_commit else ref.revision
    snapshot = Snapshot.of(inspection.architecture, inspection.tree)
    return SnapshotResult(SnapshotFile(snapshot, follows), inspection.notes)


def resolve(model: ModelLike, *, revision: str | None = None, options: InspectOptions = _DEFAULTS) -> ResolvedModel:
    """Find a model's files. This waits for the disk and the Hub; it may run in any thread."""
    if isinstance(model, Mapping) or (hasattr(model, "to_json_string") and not isinstance(model, type)):
        from vlm_inspect.sources.config_file import from_object

        checkpoint = from_object(model)
        return ResolvedModel(ModelRef(checkpoint.identity.id), checkpoint)
    ref = ModelRef.parse(model, revision)
    if ref.path is not None:
        from vlm_inspect.storage.snapshots import read_if_snapshot

        if (stored := read_if_snapshot(ref.path)) is not None:
            return ResolvedModel(ref, stored.snapshot)
    try:
        return ResolvedModel(ref, sources.load(ref, options))
    except SourceError as error:
        from vlm_inspect.sources.explain import explain

        raise explain(error, ref, options) from error.__cause__


class CacheMissError(Exception):
    """A model has to be built."""


def build_result(
    model: ResolvedModel,
    options: InspectOptions = _DEFAULTS,
    *,
    with_tree: bool = True,
    cached_only: bool = False,
) -> Inspection:
    """Return the result for a model, from the cache or built.

    Raises as `inspect_model`; CacheMissError if it is not cached and `cached_only` forbids to build it.
    """
    if isinstance(model.source, Snapshot):
        return _from_snapshot(model.source)
    checkpoint, notes = model.source, model.source.notes
    reason: NotNativeError | None = None
    for candidate in order.candidates(checkpoint, options):
        key = _cache_key(candidate.builder, checkpoint, options)
        try:
            result = _get_cached(key, checkpoint, with_tree=with_tree)
            if result is None and cached_only:
                raise CacheMissError
            result = result or _build(candidate, model, checkpoint, options, key)
            result = _with_decided_ties(result, key, checkpoint, model.ref, options, cached_only=cached_only)
        except candidate.skipped_by as error:
            if isinstance(error, NotNativeError):
                reason = error
            else:
                message = error.message.removeprefix(f"{error.model}: ")
                notes = (*notes, f"{checkpoint.identity.id} is {_CONFIG_ONLY}{message}")
        else:
            return Inspection(result.architecture, result.tree, (*notes, *result.notes))
    return _from_config(checkpoint, reason, notes)


def cached_result(
    model: ResolvedModel, options: InspectOptions = _DEFAULTS, *, with_tree: bool = True
) -> Inspection | None:
    """Return the result if nothing has to be built for it, else None. Raises as `inspect_model`."""
    try:
        return build_result(model, options, with_tree=with_tree, cached_only=True)
    except CacheMissError:
        return None


def shared_key(checkpoint: Checkpoint, options: InspectOptions) -> str | None:
    """Return a key that is the same for checkpoints that one build answers; None if there is none."""
    return _cache_key(options.builder or "transformers", checkpoint, options)


def _build(
    candidate: Candidate,
    model: ResolvedModel,
    checkpoint: Checkpoint,
    options: InspectOptions,
    key: str | None,
) -> CachedResult:
    """Build and describe a model. The result is cached, and so is that transformers has no class."""
    from vlm_inspect.anatomy.describe import describe
    from vlm_inspect.builders.transformers.missing_packages import missing_part_note
    from vlm_inspect.storage.cache import CachedResult, default_cache

    try:
        built = candidate.build(checkpoint, model.ref, options)
    except NotNativeError as error:
        if key is not None:
            default_cache().put(key, error)
        raise
    missing = tuple(missing_part_note(path, why) for path, why in built.tree.missing_modules.items())
    record = describe(built.tree, checkpoint.identity, candidate.builder)
    result = CachedResult(record, built.tree, (*built.notes, *missing))
    if key is not None and built.cacheable:
        default_cache().put(key, result)
    return result


def _with_decided_ties(  # noqa: PLR0913 - the last is a choice, by name
    result: CachedResult,
    key: str | None,
    checkpoint: Checkpoint,
    ref: ModelRef,
    options: InspectOptions,
    *,
    cached_only: bool,
) -> CachedResult:
    """Let the checkpoint decide an uncertain result. Raises CacheMissError if `cached_only` forbids it."""
    if result.architecture.parameters.uncertain is None:
        return result
    from vlm_inspect.app.ties import decided_by_checkpoint

    decided = decided_by_checkpoint(result, key, checkpoint, ref, options, cached_only=cached_only)
    if decided is None:
        raise CacheMissError
    return decided


def _get_cached(key: str | None, checkpoint: Checkpoint, *, with_tree: bool) -> CachedResult | None:
    """Return the cached result. Raises NotNativeError if that is what is cached."""
    if key is None:
        return None
    from vlm_inspect.storage.cache import default_cache

    found = default_cache().get(key, checkpoint.identity, with_tree=with_tree)
    if isinstance(found, NotNativeError):
        raise found
    return found


def _cache_key(builder: Builder, checkpoint: Checkpoint, options: InspectOptions) -> str | None:
    if not options.use_cache:
        return None
    from vlm_inspect.storage.cache import key_for_commit, key_for_config

    if builder == "transformers":
        return key_for_config(builder, checkpoint.config)
    return key_for_commit(builder, checkpoint.config, checkpoint.identity)


def _from_config(checkpoint: Checkpoint, reason: NotNativeError | None, notes: tuple[str, ...]) -> Inspection:
    from vlm_inspect.anatomy.config_only import describe_config

    on_request = reason is None
    order.check_common_sizes(checkpoint)
    if reason is None:
        model = checkpoint.identity.id
        reason = NotNativeError("the builder config builds nothing.", model=model, short="not built")
    try:
        record = describe_config(checkpoint, reason, on_request=on_request)
    except NotNativeError as error:
        unread = (note.partition(_CONFIG_ONLY)[2] for note in notes if _CONFIG_ONLY in note)
        message = " ".join((error.message, *(f"Its headers were not read: {why}" for why in unread)))
        raise NotNativeError(message, hint=error.hint, model=error.model, short=error.short) from error
    return Inspection(record, None, notes, reason.message)


def _from_snapshot(snapshot: Snapshot) -> Inspection:
    record = snapshot.architecture
    architecture = replace(record, model=replace(record.model, source="snapshot"))
    if snapshot.modules is None:
        return Inspection(architecture, no_tree="the snapshot file has no module tree.")
    tree = ModuleTree(
        snapshot.modules,
        record.parameters.ties,
        notes=record.notes,
        missing_modules=record.missing_modules,
        versions=record.versions,
    )
    return Inspection(architecture, tree)
