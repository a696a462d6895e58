"""The names of the builders, as the command line and the records have them."""

from __future__ import annotations

from typing import Literal

Builder = Literal["transformers", "remote-code", "header", "config"]
"""What a module tree was built by; `config` where there is none."""
