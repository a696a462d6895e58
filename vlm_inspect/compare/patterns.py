"""Split and join path patterns: tuples of names in which `*` stands for a number."""

from __future__ import annotations

from collections.abc import Iterator

from vlm_inspect.core.module_tree import Pattern


def pattern_of(written: str) -> Pattern:
    """The pattern for its text; the root is the empty tuple."""
    return tuple(written.split(".")) if written else ()


def prefixes(pattern: Pattern) -> Iterator[Pattern]:
    """All prefixes of a pattern, from the root to the pattern itself."""
    return (pattern[:length] for length in range(len(pattern) + 1))


def below(pattern: Pattern, prefix: Pattern) -> Iterator[Pattern]:
    """The prefixes of a pattern that are longer than one of its prefixes, the pattern included."""
    return (pattern[:length] for length in range(len(prefix) + 1, len(pattern) + 1))


def ancestors(path: str) -> Iterator[str]:
    """A path and its parents, without the root."""
    while path:
        yield path
        path = path.rpartition(".")[0]
