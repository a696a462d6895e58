"""Options for inspecting a model."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Builder = Literal["transformers", "remote-code", "header", "config"]
"""A way to build a model's tree; `builders` tries them in this order."""


@dataclass(frozen=True, slots=True)
class InspectOptions:
    """How a model is looked up and built. Hub settings default to huggingface_hub's environment."""

    token: str | None = field(default=None, repr=False)
    """Hub token. Default: `HF_TOKEN`, then the token of `hf auth login`."""
    cache_dir: Path | None = None
    """Hub cache. Default: `HF_HUB_CACHE`, then `HF_HOME`, then `~/.cache/huggingface/hub`."""
    offline: bool = False
    """Do not use the network; use cached files and built-in models only. As `HF_HUB_OFFLINE=1`."""
    timeout: float = 60.0
    """Seconds that one model may take on the Hub, retries included."""
    builder: Builder | None = None
    """The only builder to use. Default: the first that can build the model, in the order of `builders`."""
    trust_remote_code: bool = False
    """Run the code of a model's repository, in a sandbox, if transformers has no class for it."""
    use_cache: bool = True
    """Read results from the result cache and write new ones to it."""
    jobs: int = 1
    """Number of processes that build several models."""

    @property
    def cache_folder(self) -> Path | None:
        """`cache_dir` with its `~` expanded; unchanged if there is no such user, as in a shell."""
        if self.cache_dir is None:
            return None
        try:
            return self.cache_dir.expanduser()
        except RuntimeError:
            return self.cache_dir
