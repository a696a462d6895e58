"""What the user may say of how models are looked up."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """How models are looked up on the Hub. What is left out is as huggingface_hub's environment says."""

    token: str | None = field(default=None, repr=False)
    """Sent to the Hub; without it HF_TOKEN, then the token of `hf auth login`."""
    cache_dir: Path | None = None
    """The Hub's cache; without it HF_HUB_CACHE, HF_HOME, ~/.cache/huggingface/hub."""
    offline: bool = False
    """Ask nobody: the cache, then the catalogue. As HF_HUB_OFFLINE=1."""
    deadline: float = 60.0
    """Seconds that one model may take on the Hub, retries included."""

    @property
    def cache_folder(self) -> Path | None:
        """`cache_dir`, its `~` as a shell reads it; the home of nobody is a folder of that name, as there."""
        if self.cache_dir is None:
            return None
        try:
            return self.cache_dir.expanduser()
        except RuntimeError:
            return self.cache_dir
