"""What is known of a model before anything is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from vlm_inspect.core.model_ref import ModelIdentity

QUANTISATION_KEYS = ("quantization_config", "quantization", "compression_config")
"""Where a configuration says how its weights are quantised: transformers' own key, MLX's, and
compressed-tensors' before it had transformers'."""


class Checkpoint(Struct, frozen=True):
    """A model's configuration, and where it came from. Never a weight."""

    identity: ModelIdentity
    config: Mapping[str, Any]
    """The content of config.json, value by value."""
    notes: tuple[str, ...] = ()
    """What the user should know of where it came from, a sentence each (the Hub was not reached …)."""


class DeclaredClasses(Struct, frozen=True):
    """What is stated of the classes in a repo's code, where the code itself is not at hand."""

    classes: Mapping[str, str | Mapping[str, str]]
    """Module path, with `*` for the numbers of layers → what torch prints of the module, in the code's order:
    `GELU(approximate='none')`. Where a key of the configuration chooses: `key`, and a print per value."""
    supports: tuple[str, ...] | None = None
    """Attention kernels that the model's class says it supports; None where it is not stated."""
