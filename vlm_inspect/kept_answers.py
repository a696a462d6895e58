"""What a way makes of a checkpoint, kept from an earlier time or made anew.

The cache is imported where it is asked: it takes OpenSSL and the packages' metadata, which whoever compares
snapshot files has no use for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vlm_inspect.builder import Builder
from vlm_inspect.builders import Way
from vlm_inspect.checkpoint import Checkpoint
from vlm_inspect.errors import NotNativeError
from vlm_inspect.sources.options import InspectOptions

if TYPE_CHECKING:
    from vlm_inspect.cache.entry import Answer


class NothingKeptError(Exception):
    """Of this checkpoint nothing is kept."""


def kept_or_new(checkpoint: Checkpoint, way: Way, *, options: InspectOptions, with_tree: bool) -> Answer:
    """The kept answer, or a new one. Raises NotNativeError, and what the builder raises."""
    place = _place(checkpoint, way.builder, options)
    try:
        return _kept_at(place, checkpoint, with_tree=with_tree)
    except NothingKeptError:
        return _new(checkpoint, way, place)


def kept(checkpoint: Checkpoint, way: Way, *, options: InspectOptions, with_tree: bool) -> Answer:
    """The kept answer. Raises NotNativeError where that is what is kept, else NothingKeptError."""
    return _kept_at(_place(checkpoint, way.builder, options), checkpoint, with_tree=with_tree)


def in_common(checkpoint: Checkpoint, options: InspectOptions) -> str | None:
    """What two models share that one build answers; None where that cannot be said."""
    return _place(checkpoint, options.builder or "transformers", options)


def _kept_at(place: str | None, checkpoint: Checkpoint, *, with_tree: bool) -> Answer:
    from vlm_inspect.cache import store

    found = store.shared().get(place, checkpoint.identity, with_tree=with_tree) if place is not None else None
    if isinstance(found, NotNativeError):
        raise found
    if found is None:
        raise NothingKeptError
    return found


def _new(checkpoint: Checkpoint, way: Way, place: str | None) -> Answer:
    """A new answer; it is kept where it has a place, as is the word that there is no class."""
    from vlm_inspect.anatomy import describe
    from vlm_inspect.build.missing_packages import note
    from vlm_inspect.cache import store
    from vlm_inspect.cache.entry import Answer

    try:
        built = way.build()
    except NotNativeError as error:
        if place is not None:
            store.shared().put(place, error)
        raise
    unbuilt = tuple(note(path, why) for path, why in built.tree.unbuilt.items())
    record = describe(built.tree, checkpoint.identity, built.builder)
    made = Answer(record, built.tree, (*built.notes, *unbuilt))
    if place is not None and built.lasting:
        store.shared().put(place, made)
    return made


def _place(checkpoint: Checkpoint, builder: Builder, options: InspectOptions) -> str | None:
    """The key under which a builder's answer is kept; None where nothing is."""
    if not options.use_cache:
        return None
    from vlm_inspect.cache import key

    if builder == "transformers":
        return key.of_configuration(builder, checkpoint.config)
    return key.of_commit(builder, checkpoint.config, checkpoint.identity)
