"""How many examples a property is tried with: as the profile says, more or fewer where that is worth it.

The variable HYPOTHESIS_PROFILE chooses a profile of tests/conftest.py; dev is the default.
"""

from hypothesis import settings

_FEWEST = 3


def examples(factor):
    """Settings with so many times the profile's number of examples."""
    return settings(max_examples=max(_FEWEST, round(factor * settings.default.max_examples)))


def in_full():
    """Whether the profile is one for tests that may take long."""
    return settings.default.max_examples > settings.get_profile("dev").max_examples
