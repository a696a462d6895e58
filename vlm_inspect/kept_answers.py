"""Results from the cache, or built and added to it.

The cache is imported in functions: it loads OpenSSL and package metadata, which a comparison of snapshot
files does not need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vlm_inspect.builder import Builder
from vlm_inspect.builders import Way
from vlm_inspect.checkpoint import Checkpoint
from vlm_inspect.errors import NotNativeError
from vlm_inspect.sources.options import InspectOptions

if TYPE_CHECKING:
    from vlm_inspect.storage.cache import CachedResult


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
    from vlm_inspect.anatomy import describe
    from vlm_inspect.build.missing_packages import note
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
