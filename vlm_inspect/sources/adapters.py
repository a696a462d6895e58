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
        found = _local(ref.path) if ref.path is not None else _from_hub(ref, options)
        config = read_config(found, ref.name) if found is not None else None
    except InvalidConfigError as error:
        raise InvalidConfigError(
            error.message.replace("config.json", ADAPTER_CONFIG),
            hint="Save the adapter again with PEFT's save_pretrained.",
            model=ref.name,
        ) from error
    if found is None or config is None:
        return None
    if ref.path is not None:
        return Checkpoint(ModelIdentity(found.resolve().parent.name, source="local"), config)
    return Checkpoint(ModelIdentity(ref.name, found.parent.name, "hub"), config)


def _local(path: Path) -> Path | None:
    try:
        folder = path if path.is_dir() else path.parent
    except OSError:  # for example a name that is too long: `config_file` reports it
        return None
    found = folder / ADAPTER_CONFIG
    return found if found.is_file() else None


def _from_hub(ref: ModelRef, options: InspectOptions) -> Path | None:
    if hub.is_offline(options):
        return hub.find_cached(ref, ADAPTER_CONFIG, options)
    try:
        return hub.download(ref, ADAPTER_CONFIG, options)
    except ConfigMissingError:
        return None
