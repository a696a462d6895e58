"""Patterns of paths taken apart and put together."""

from __future__ import annotations

from collections.abc import Iterator

from vlm_inspect.core.module_tree import Numbers, Pattern, folded_path, split, text

__all__ = [
    "Numbers",
    "Pattern",
    "ancestors",
    "below",
    "folded_path",
    "numbered",
    "pattern_of",
    "prefixes",
    "split",
    "starts",
    "text",
]


def pattern_of(written: str) -> Pattern:
    """The pattern that was written; the root's is empty."""
    return tuple(written.split(".")) if written else ()


def starts(pattern: Pattern, prefix: Pattern) -> bool:
    """Whether a pattern lies at or below another."""
    return pattern[: len(prefix)] == prefix


def prefixes(pattern: Pattern) -> Iterator[Pattern]:
    """The pattern and all above it, the root too."""
    return (pattern[:length] for length in range(len(pattern) + 1))


def below(pattern: Pattern, prefix: Pattern) -> Iterator[Pattern]:
    """The pattern and all above it that lie below a prefix of it."""
    return (pattern[:length] for length in range(len(prefix) + 1, len(pattern) + 1))


def ancestors(path: str) -> Iterator[str]:
    """The path and all above it but the root."""
    while path:
        yield path
        path = path.rpartition(".")[0]


def numbered(pattern: Pattern, numbers: Numbers) -> Iterator[str]:
    """The parts of a path: a pattern with its numbers put in."""
    left = iter(numbers)
    return (next(left, "*") if part == "*" else part for part in pattern)
