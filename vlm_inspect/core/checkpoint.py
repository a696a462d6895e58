"""Checkpoint: a model's configuration, loaded and not yet built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from vlm_inspect.core.model_ref import ModelIdentity

QUANTIZATION_KEYS = ("quantization_config", "quantization", "compression_config")
"""Configuration keys for quantized weights: of transformers, of MLX, and of old compressed-tensors files."""


class Checkpoint(Struct, frozen=True):
    """A model's configuration and its source. It has no weights."""

    identity: ModelIdentity
    config: Mapping[str, Any]
    """The content of config.json."""
    notes: tuple[str, ...] = ()
    """Warnings about the source, one sentence each (the Hub was not reached …)."""


class DeclaredClasses(Struct, frozen=True):
    """Classes of a repo's code that the catalogue declares, for use when the code is not available."""

    classes: Mapping[str, str | Mapping[str, str]]
    """Module path, with `*` for layer numbers → the repr that torch prints, in the order of the code:
    `GELU(approximate='none')`. If a configuration key selects the class: the `key`, and a repr per value."""
    supports: tuple[str, ...] | None = None
    """Attention implementations that the model's class supports; None if not declared."""
