"""Options for inspecting a model."""

from __future__ import annotations

from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Literal, get_args

from vlm_inspect.core.errors import InvalidOptionError

Builder = Literal["transformers", "remote-code", "header", "config"]
"""A way to build a model's tree; `builders` tries them in this order."""


@dataclass(frozen=True, slots=True)
class InspectOptions:
    """How a model is looked up and built. Hub settings default to huggingface_hub's environment."""

    token: str | None = field(default=None, repr=False)
    """Hub token. Default: `HF_TOKEN`, then the token of `hf auth login`."""
    cache_dir: str | PathLike[str] | None = None
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

    def __post_init__(self) -> None:
        """Raise InvalidOptionError for a value that an option cannot have."""
        checks = {
            "token": self.token is None or isinstance(self.token, str),
            "cache_dir": self.cache_dir is None or isinstance(self.cache_dir, (str, PathLike)),
            "builder": self.builder is None or self.builder in get_args(Builder),
            "jobs": isinstance(self.jobs, int) and self.jobs > 0,
        }
        wrong = next((name for name, is_valid in checks.items() if not is_valid), None)
        if wrong is not None:
            expected = {"builder": f"one of {', '.join(get_args(Builder))}", "jobs": "a number above 0"}
            shown = "an invalid value" if wrong == "token" else repr(getattr(self, wrong))[:100]
            raise InvalidOptionError(
                f"{wrong} is {shown}.",
                hint=f"Use {expected.get(wrong, 'a path' if wrong == 'cache_dir' else 'a text')}.",
            )

    @property
    def cache_folder(self) -> Path | None:
        """`cache_dir` with its `~` expanded; unchanged if there is no such user, as in a shell."""
        if self.cache_dir is None:
            return None
        try:
            return Path(self.cache_dir).expanduser()
        except RuntimeError:
            return Path(self.cache_dir)
