"""What the user may say of how a model is answered: where it is looked up, and what builds it."""

from __future__ import annotations

from dataclasses import dataclass

from vlm_inspect.builder import Builder
from vlm_inspect.sources import SourceOptions


@dataclass(frozen=True, slots=True)
class Asking(SourceOptions):
    """How a model is looked up and built."""

    builder: Builder | None = None
    """The only builder to use; without it, the first that can, in the order of `builders`."""
    trust_remote_code: bool = False
    """Whether the code of a model's own repo may be run, isolated, where transformers has no class."""
    cache: bool = True
    """Whether an answer that was given before may be given again, and a new one is kept."""
    jobs: int = 1
    """In how many processes models are built, where there are several."""
