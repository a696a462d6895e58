"""Checks of the environment: Python, libraries, the Hub, the caches."""

from __future__ import annotations

from collections.abc import Iterator

from vlm_inspect.builders import doctor as libraries
from vlm_inspect.core.options import InspectOptions
from vlm_inspect.core.packages import HealthCheck
from vlm_inspect.core.version import __version__
from vlm_inspect.sources import doctor as hub
from vlm_inspect.storage import cache


def run_checks(options: InspectOptions) -> Iterator[HealthCheck]:
    """Run every check, the quick ones first."""
    yield HealthCheck("vlm-inspect", __version__)
    yield from libraries.run_checks()
    yield from hub.run_checks(options)
    yield from cache.run_checks()
