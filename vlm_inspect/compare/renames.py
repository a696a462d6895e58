"""Renames recognised: which paths moved, and to where.

A removed path and an added one of the same shape suggest that the part in which they differ was
renamed: `a.b.X` and `a.X` suggest `a.b` → `a`. Every pair votes; the suggestion with the most votes that
accounts for the greater part of what is below both its ends is a move, and the search goes on without
what it explains. Layers' numbers are `*`, so that a move of all layers is one.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from vlm_inspect.compare.patterns import below, prefixes, starts
from vlm_inspect.core.difference import Move
from vlm_inspect.core.module_tree import Numbers, Pattern, Shape, split, text

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


_Rank = tuple[int, bool, int, int, list[Pattern], Pair]


def find_moves(removed: Paths, added: Paths, kept: Collection[str] = ()) -> tuple[Move, ...]:
    """The moves that lead from the removed paths to the added ones, the largest first.

    `kept` are the paths that both have: a move that would take them along is told in smaller parts.
    """
    return tuple(_Election(Side(removed, kept), Side(added, kept)).moves())


class _Election:
    """The suggestions, best first. A move takes its paths from all others, which are then ranked anew."""

    def __init__(self, before: Side, after: Side) -> None:
        self.before, self.after = before, after
        self.pairs = {rule: pairs for rule, pairs in votes(before, after).items() if self._may_be(rule)}
        self.queue = [(_Descending(self._rank(rule)), rule) for rule in self.pairs]
        heapq.heapify(self.queue)
        self.taken: dict[str, set[Pattern]] = {"before": set(), "after": set()}
        """The ends that are spoken for: another move from there would say otherwise of what moved already."""
        self.moved: dict[str, set[Pattern]] = {"before": set(), "after": set()}
        """The ends of the moves: of what lies below one, a move from further above would not be heard."""
        self.waiting: dict[tuple[str, ...], list[Rule]] = defaultdict(list)
        """Suggestions that account for too little of what is below this end, until there is less of it."""

    def moves(self) -> Iterable[Move]:
        """One move after another, until no suggestion is left."""
        while self.queue:
            rank, rule = heapq.heappop(self.queue)
            pairs = self._left(rule)
            if not pairs or not (_is_related(rule) or len(pairs) > 1) or self._is_spoken_for(rule):
                continue
            now = _Descending(self._rank(rule))
            if now != rank:
                heapq.heappush(self.queue, (now, rule))
            elif (end := self._too_much_below(rule)) is not None:
                self.waiting[end].append(rule)
            else:
                yield Move(text(rule.before), text(rule.after), self._moved(pairs), _what(rule, pairs))
                self._take(rule, pairs)

    def _may_be(self, rule: Rule) -> bool:
        """Numbers keep their place, and nothing that stayed lies below both ends."""
        if rule.before.count("*") != rule.after.count("*"):
            return False
        return not (self.before.keeps_below(rule.before) and self.after.keeps_below(rule.after))

    def _left(self, rule: Rule) -> Sequence[Pair]:
        old, new = self.before.groups, self.after.groups
        self.pairs[rule] = [
            pair
            for pair in self.pairs[rule]
            if pair[0] in old and pair[1] in new and self._is_heard(rule, pair)
        ]
        return self.pairs[rule]

    def _is_heard(self, rule: Rule, pair: Pair) -> bool:
        """Whether it is this move that leads from the one to the other, and back: the longest decides."""
        nearer_before, nearer_after = below(pair[0], rule.before), below(pair[1], rule.after)
        return self.moved["before"].isdisjoint(nearer_before) and self.moved["after"].isdisjoint(nearer_after)

    def _too_much_below(self, rule: Rule) -> tuple[str, ...] | None:
        """The end below which the greater part would not have moved."""
        moved = 2 * self._moved(self.pairs[rule])
        if moved < self.before.below(rule.before):
            return ("before", *rule.before)
        return ("after", *rule.after) if moved < self.after.below(rule.after) else None

    def _is_spoken_for(self, rule: Rule) -> bool:
        return rule.before in self.taken["before"] or rule.after in self.taken["after"]

    def _take(self, rule: Rule, pairs: Sequence[Pair]) -> None:
        self.moved["before"].add(rule.before)
        self.moved["after"].add(rule.after)
        for old, new in pairs:
            self.before.take(old)
            self.after.take(new)
        for side, index in (("before", 0), ("after", 1)):
            ends = {prefix for pair in pairs for prefix in prefixes(pair[index])}
            depth = len(rule.before if side == "before" else rule.after)
            self.taken[side] |= {end for end in ends if len(end) >= depth}
            for end in ends:
                for waiting in self.waiting.pop((side, *end), ()):
                    if self._left(waiting):
                        heapq.heappush(self.queue, (_Descending(self._rank(waiting)), waiting))

    def _moved(self, pairs: Sequence[Pair]) -> int:
        return sum(self.before.size(old) for old, _ in pairs)

    def _rank(self, rule: Rule) -> _Rank:
        """Most paths first; of equal ones the plainest, the shortest, the one whose paths kept their place.

        The last word has the name, whichever way round: both directions must choose alike.
        """
        pairs = self.pairs[rule]
        drift = sum(abs(self.before.order[old] - self.after.order[new]) for old, new in pairs)
        length = len(rule.before) + len(rule.after)
        plain = not _is_ambiguous(rule, pairs)
        first = min((min(pair), max(pair)) for pair in pairs)
        return self._moved(pairs), plain, -length, -drift, sorted((rule.before, rule.after)), first


class _Descending:
    """A rank for a queue that gives the least first."""

    __slots__ = ("rank",)

    def __init__(self, rank: _Rank) -> None:
        self.rank = rank

    def __lt__(self, other: _Descending) -> bool:
        return self.rank > other.rank

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Descending) and self.rank == other.rank

    __hash__ = None  # type: ignore[assignment]


def _what(rule: Rule, pairs: Sequence[Pair]) -> Literal["module", "parameter"]:
    return "parameter" if all(old == rule.before for old, _ in pairs) else "module"


def _is_related(rule: Rule) -> bool:
    """One end lies inside the other, or both beside each other under one parent, or they end alike."""
    if starts(rule.before, rule.after) or starts(rule.after, rule.before):
        return True
    if rule.before[:-1] == rule.after[:-1]:
        return True
    return rule.before[-1] == rule.after[-1]


def _is_ambiguous(rule: Rule, pairs: Sequence[Pair]) -> bool:
    """Whether the rule says `a.b` → `a` of what is `a.b.b` → `a.b` just as well, which names what moved."""
    if rule.before[:-1] == rule.after and rule.before:
        return all(old[len(rule.before)] == rule.before[-1] for old, _ in pairs if old != rule.before)
    if rule.after[:-1] == rule.before and rule.after:
        return all(new[len(rule.after)] == rule.after[-1] for _, new in pairs if new != rule.after)
    return False
