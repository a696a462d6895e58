"""The configuration of a PEFT adapter, from its folder or from the Hub."""

from __future__ import annotations

from pathlib import Path

from vlm_inspect.core.checkpoint import Checkpoint
from vlm_inspect.core.errors import ConfigMissingError, InvalidConfigError
from vlm_inspect.core.model_ref import ModelIdentity, ModelRef
from vlm_inspect.core.options import InspectOptions
from vlm_inspect.sources import hub
from vlm_inspect.sources.config_file import read_config

ADAPTER_CONFIG = "adapter_config.json"


def load(ref: ModelRef, options: InspectOptions) -> Checkpoint | None:
    """Load an adapter's configuration; None if there is no adapter. Raises SourceError."""
    try:
        return _local(ref) if ref.path is not None else _from_hub(ref, options)
    except InvalidConfigError as error:
        raise InvalidConfigError(
            error.message.replace("config.json", ADAPTER_CONFIG),
            hint="Save the adapter again with PEFT's save_pretrained.",
            model=ref.name,
        ) from error


def _local(ref: ModelRef) -> Checkpoint | None:
    path = ref.path or Path()
    try:
        folder = path if path.is_dir() else path.parent
    except OSError:  # for example a name that is too long: `config_file` reports it
        return None
    found = folder / ADAPTER_CONFIG
    if not found.is_file():
        return None
    return Checkpoint(ModelIdentity(found.resolve().parent.name, source="local"), read_config(found, ref.name))


def _from_hub(ref: ModelRef, options: InspectOptions) -> Checkpoint | None:
    if hub.is_offline(options):
        return hub.load_cached(ref, ADAPTER_CONFIG, options)
    try:
        return hub.download(ref, ADAPTER_CONFIG, options)
    except ConfigMissingError:
        return None
