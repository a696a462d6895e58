"""Paths as patterns: the numbers of layers are `*`, so that what holds of all layers is said once."""

from __future__ import annotations

from functools import lru_cache

Pattern = tuple[str, ...]
Numbers = tuple[str, ...]

_MOST_DIGITS = 10


# a comparison asks for each of its paths several times; as many as a large model's two sides have
@lru_cache(maxsize=1 << 15)
def split(path: str) -> tuple[Pattern, Numbers]:
    """A path with its numbers replaced by `*`, and the numbers."""
    parts = path.split(".")
    # lists are filled faster than generators are asked, and a comparison of large models is mostly this
    numbers = [part for part in parts if part.isdigit()]
    return tuple(["*" if part.isdigit() else part for part in parts] if numbers else parts), tuple(numbers)


def text(pattern: Pattern) -> str:
    """A pattern as it is written."""
    return ".".join(pattern)


def folded_path(path: str) -> str:
    """`model.layers.7.norm` as `model.layers.*.norm`."""
    return text(split(path)[0])


def can_be_a_part(name: str) -> bool:
    """Whether a path can have a part of this name, and be told from a pattern.

    Of digits, int() takes only some that Unicode has, and no layer's number is longer than ten.
    """
    if name.isdigit():
        return name.isascii() and len(name) <= _MOST_DIGITS
    return bool(name) and "." not in name and name != "*"
