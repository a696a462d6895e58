"""What is known of a model before anything is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vlm_inspect.ref import ModelIdentity


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model's configuration, and where it came from. Never a weight."""

    identity: ModelIdentity
    config: Mapping[str, Any]
    """The content of config.json, value by value."""
    notes: tuple[str, ...] = ()
    """What the user should know of where it came from, a sentence each (the Hub was not reached …)."""
