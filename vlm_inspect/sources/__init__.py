"""ModelRef -> Checkpoint: a model's configuration from a path, the Hub, its cache or the catalogue."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from vlm_inspect.sources.options import InspectOptions

if TYPE_CHECKING:
    from vlm_inspect.checkpoint import Checkpoint
    from vlm_inspect.ref import ModelRef

__all__ = ["InspectOptions", "is_offline", "load", "prepare"]

_DEFAULTS = InspectOptions()


def load(ref: ModelRef, options: InspectOptions = _DEFAULTS) -> Checkpoint:
    """The model's configuration and where it came from; raises a SourceError where there is none.

    A path is read; a repo is asked of the Hub, then of the Hub's cache; the catalogue has the last word.
    """
    try:
        return _load(ref, options)
    except ImportError as error:
        from vlm_inspect.sources.unusable import unusable

        raise unusable(error) from error


def _load(ref: ModelRef, options: InspectOptions) -> Checkpoint:
    from msgspec.structs import replace

    from vlm_inspect.errors import HubUnavailableError
    from vlm_inspect.sources import catalogue, endpoint, hub, local

    endpoint.check()
    if ref.path is not None:
        return local.load(ref)
    try:
        return hub.load(ref, options)
    except HubUnavailableError as error:
        known = None if ref.revision else catalogue.load(ref.name)
        if known is None:
            raise
        if hub.is_offline(options):
            return known
        return replace(known, notes=(f"{error.message} {ref.name} is answered from the built-in catalogue.",))


def is_offline(options: InspectOptions) -> bool:
    """Whether nobody is asked: what is not on this disk is not there."""
    from vlm_inspect.sources import hub

    with suppress(ImportError):
        return hub.is_offline(options)
    return True


def prepare() -> None:
    """Import what asking the Hub takes, before several threads do.

    Modules that import each other, and are imported by two threads at once, may be seen half made.
    """
    from vlm_inspect.sources import endpoint, hub

    with suppress(ImportError):  # what is broken is told of the model that needs it
        if endpoint.is_address():
            hub.prepare()
