"""Look at the place that vlm-inspect runs in, and say what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator

from vlm_inspect.build import health as libraries
from vlm_inspect.cache import health as answers
from vlm_inspect.diagnosis import Finding
from vlm_inspect.sources import InspectOptions
from vlm_inspect.sources import health as hub
from vlm_inspect.version import __version__


def look(options: InspectOptions) -> Iterator[Finding]:
    """Every finding, the quick ones first."""
    yield Finding("vlm-inspect", __version__)
    yield from libraries.look()
    yield from hub.look(options)
    yield from answers.look()
