"""ModelRef → Checkpoint: a model's configuration from a path, the Hub, its cache or the catalogue."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from vlm_inspect.core.options import InspectOptions

if TYPE_CHECKING:
    from vlm_inspect.core.checkpoint import Checkpoint
    from vlm_inspect.core.model_ref import ModelRef

__all__ = ["InspectOptions", "is_offline", "load", "prepare"]

_DEFAULTS = InspectOptions()


def load(ref: ModelRef, options: InspectOptions = _DEFAULTS) -> Checkpoint:
    """Load a configuration from a path, or from the Hub, else its cache, else the built-in catalogue.

    Raises SourceError, or BrokenEnvironmentError if huggingface_hub cannot be imported.
    """
    try:
        return _load(ref, options)
    except ImportError as error:
        from vlm_inspect.sources.hub_errors import import_error

        raise import_error(error) from error


def _load(ref: ModelRef, options: InspectOptions) -> Checkpoint:
    from msgspec.structs import replace

    from vlm_inspect.core.errors import HubUnavailableError
    from vlm_inspect.sources import catalogue, config_file, hub

    hub.check_endpoint()
    if ref.path is not None:
        return config_file.load(ref)
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
    """Whether requests are forbidden, or impossible because huggingface_hub cannot be imported."""
    from vlm_inspect.sources import hub

    with suppress(ImportError):
        return hub.is_offline(options)
    return True


def prepare() -> None:
    """Import huggingface_hub before threads do: two that import it at once may see it half initialized."""
    from vlm_inspect.core.errors import SourceError
    from vlm_inspect.sources import hub

    with suppress(ImportError, SourceError):  # reported for the first model that needs it
        hub.check_endpoint()
        from huggingface_hub.utils import get_session  # noqa: F401

        from vlm_inspect.sources import hub_errors  # noqa: F401
