"""Paths as patterns: the numbers of layers are `*`, so that what holds of all layers is said once."""

from __future__ import annotations

from collections.abc import Iterator

Pattern = tuple[str, ...]
Numbers = tuple[str, ...]


def split(path: str) -> tuple[Pattern, Numbers]:
    """A path with its numbers replaced by `*`, and the numbers."""
    parts = path.split(".")
    numbers = tuple(part for part in parts if part.isdigit())
    return tuple("*" if part.isdigit() else part for part in parts), numbers


def text(pattern: Pattern) -> str:
    """A pattern as it is written."""
    return ".".join(pattern)


def folded_path(path: str) -> str:
    """`model.layers.7.norm` as `model.layers.*.norm`."""
    return text(split(path)[0])


def pattern_of(written: str) -> Pattern:
    """The pattern that was written; the root's is empty."""
    return tuple(written.split(".")) if written else ()


def starts(pattern: Pattern, prefix: Pattern) -> bool:
    """Whether a pattern lies at or below another."""
    return pattern[: len(prefix)] == prefix


def prefixes(pattern: Pattern) -> Iterator[Pattern]:
    """The pattern and all above it, the root too."""
    return (pattern[:length] for length in range(len(pattern) + 1))


def ancestors(path: str) -> Iterator[str]:
    """The path and all above it but the root."""
    while path:
        yield path
        path = path.rpartition(".")[0]


def numbered(pattern: Pattern, numbers: Numbers) -> Iterator[str]:
    """The parts of a path: a pattern with its numbers put in."""
    left = iter(numbers)
    return (next(left, "*") if part == "*" else part for part in pattern)
