"""The configuration of a PEFT adapter: from its folder, or from the Hub by way of huggingface_hub's cache."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from vlm_inspect.checkpoint import Checkpoint
from vlm_inspect.errors import InvalidConfigError
from vlm_inspect.ref import ModelIdentity, ModelRef
from vlm_inspect.sources import hub_cache
from vlm_inspect.sources.config_file import read_config
from vlm_inspect.sources.dialogue import ask_hub
from vlm_inspect.sources.hub import is_offline
from vlm_inspect.sources.hub_errors import Asked
from vlm_inspect.sources.hub_files import fetch_config
from vlm_inspect.sources.hub_names import hub_error
from vlm_inspect.sources.options import InspectOptions
from vlm_inspect.sources.token import token_to_send

ADAPTER_CONFIG = "adapter_config.json"


def load(ref: ModelRef, options: InspectOptions) -> Checkpoint | None:
    """An adapter's configuration and where it came from; None where there is no adapter.

    Raises InvalidConfigError, or a SourceError for what the Hub answers instead.
    """
    try:
        found = _local(ref.path) if ref.path is not None else _on_the_hub(ref, options)
        if found is None:
            return None
        config = read_config(found, ref.name)
    except InvalidConfigError as error:
        raise InvalidConfigError(
            error.message.replace("config.json", ADAPTER_CONFIG),
            hint="Save the adapter again: PEFT's save_pretrained writes it.",
            model=ref.name,
        ) from error
    if ref.path is not None:
        return Checkpoint(ModelIdentity(found.resolve().parent.name, source="local"), config)
    return Checkpoint(ModelIdentity(ref.name, found.parent.name, "hub"), config)


def _local(path: Path) -> Path | None:
    folder = path if path.is_dir() else path.parent
    found = folder / ADAPTER_CONFIG
    return found if found.is_file() else None


def _on_the_hub(ref: ModelRef, options: InspectOptions) -> Path | None:
    asked = Asked(ref, token_to_send(options.token))
    return ask_hub(asked, options, partial(_downloaded, ref, options, asked.token), hint="Try again later.")


def _downloaded(ref: ModelRef, options: InspectOptions, token: str | None) -> Path | None:
    """The file in the cache; None where the repo has none or, offline, the cache has not."""
    if is_offline(options):
        return hub_cache.find(ref, ADAPTER_CONFIG, options)
    try:
        return fetch_config(ref, ADAPTER_CONFIG, options, token)
    except hub_error("EntryNotFoundError"):
        return None
