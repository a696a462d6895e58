"""What may have been renamed: patterns that are alike, and the renames that they suggest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from msgspec import Struct

from vlm_inspect.compare.patterns import Numbers, Pattern, prefixes, split
from vlm_inspect.tree import Shape

Paths = Mapping[str, Shape]
Pair = tuple[Pattern, Pattern]
Key = Callable[[Pattern], object]

# where more patterns are alike than this many pairs can tell apart, only pairs with a common end or a
# common parent are looked at: each pair costs time, and in a large model there would be millions
_MOST_PAIRS = 1024
_LONGEST_END = 8


class Rule(Struct, frozen=True):
    """That what is below one pattern may now be below another."""

    before: Pattern
    after: Pattern


class Side:
    """The paths of one side that are not accounted for yet, by pattern."""

    def __init__(self, paths: Paths, kept: Collection[str]) -> None:
        self.groups: dict[Pattern, dict[Numbers, Shape]] = defaultdict(dict)
        for path, shape in paths.items():
            pattern, numbers = split(path)
            self.groups[pattern][numbers] = shape
        self.order = {pattern: index for index, pattern in enumerate(self.groups)}
        self._kept = {prefix for pattern in {split(path)[0] for path in kept} for prefix in prefixes(pattern)}
        self._below: dict[Pattern, int] = defaultdict(int)
        for pattern, group in self.groups.items():
            for prefix in prefixes(pattern):
                self._below[prefix] += len(group)

    def below(self, prefix: Pattern) -> int:
        """Paths at and below a prefix."""
        return self._below[prefix]

    def keeps_below(self, prefix: Pattern) -> bool:
        """Whether something at or below a prefix stayed where it is."""
        return prefix in self._kept

    def size(self, pattern: Pattern) -> int:
        """Paths of one pattern."""
        return len(self.groups[pattern])

    def take(self, pattern: Pattern) -> None:
        """Account for the paths of a pattern."""
        for prefix in prefixes(pattern):
            self._below[prefix] -= self.size(pattern)
        del self.groups[pattern]


def votes(before: Side, after: Side) -> dict[Rule, list[Pair]]:
    """For each rename that may have been: the pairs of patterns that suggest it."""
    found: dict[Rule, dict[Pair, None]] = defaultdict(dict)
    for pair in _alike(before, after):
        for rule in _rules(*pair):
            found[rule][pair] = None
    return {rule: list(pairs) for rule, pairs in found.items()}


def _alike(before: Side, after: Side) -> Iterator[Pair]:
    """Pairs of patterns that hold the same numbers and shapes."""
    old, new = _by_content(before), _by_content(after)
    for content, patterns in old.items():
        if content in new:
            yield from _pairs(patterns, new[content])


def _by_content(side: Side) -> dict[tuple[object, ...], list[Pattern]]:
    known: dict[tuple[object, ...], list[Pattern]] = defaultdict(list)
    for pattern, group in side.groups.items():
        known[tuple(sorted(group.items()))].append(pattern)
    return known


def _pairs(old: Sequence[Pattern], new: Sequence[Pattern]) -> Iterator[Pair]:
    if len(old) * len(new) <= _MOST_PAIRS:
        yield from ((one, other) for one in old for other in new)
        return
    yield from _with_common_end(old, new, 1)
    for one, other in _matched(old, new, lambda pattern: pattern[:-1]):
        if len(one) * len(other) <= _MOST_PAIRS:
            yield from ((first, second) for first in one for second in other)


def _with_common_end(old: Sequence[Pattern], new: Sequence[Pattern], length: int) -> Iterator[Pair]:
    """Pairs that end alike, in so many names that they are few; what is left over, each and its like."""
    rest, others = dict.fromkeys(old), dict.fromkeys(new)
    for one, other in _matched(old, new, lambda pattern: pattern[-length:]):
        for pattern in one:
            del rest[pattern]
        for pattern in other:
            del others[pattern]
        if len(one) * len(other) <= _MOST_PAIRS:
            yield from ((first, second) for first in one for second in other)
        elif length < _LONGEST_END:
            yield from _with_common_end(one, other, length + 1)
        else:
            yield from zip(one, other, strict=False)
    if length > 1:
        yield from zip(rest, others, strict=False)


def _matched(
    old: Sequence[Pattern], new: Sequence[Pattern], key: Key
) -> Iterator[tuple[list[Pattern], list[Pattern]]]:
    known: dict[object, tuple[list[Pattern], list[Pattern]]] = defaultdict(lambda: ([], []))
    for pattern in old:
        known[key(pattern)][0].append(pattern)
    for pattern in new:
        known[key(pattern)][1].append(pattern)
    return ((one, other) for one, other in known.values() if one and other)


def _rules(old: Pattern, new: Pattern) -> Iterator[Rule]:
    """What may have been renamed to lead from one to the other: what is before a common end."""
    yield Rule(old, new)
    for common in range(1, min(len(old), len(new)) + 1):
        if old[-common] != new[-common]:
            return
        yield Rule(old[: len(old) - common], new[: len(new) - common])
