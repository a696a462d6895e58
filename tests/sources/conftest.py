"""Fixtures of the tests of lookups."""

import pytest

from vlm_inspect.core.options import InspectOptions


@pytest.fixture
def options(tmp_path):
    """Options with an empty cache."""
    return InspectOptions(cache_dir=tmp_path / "cache")


@pytest.fixture
def offline(options):
    """The same cache, without requests."""
    return InspectOptions(cache_dir=options.cache_dir, offline=True)
