"""Detect renames: which paths moved, and where to.

A removed path and an added path with the same shape and role suggest that the part in which they differ was
renamed: `a.b.X` and `a.X` suggest `a.b` → `a`. Every such pair of paths votes. The suggestion with the most
votes that names, classes or order prove becomes a move, and the search goes on with the remaining paths. Layer
numbers are replaced by `*`, so renaming all layers is one move.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Literal

from msgspec import Struct

from vlm_inspect.compare.rename_evidence import Evidence, Pair, Rule, Side
from vlm_inspect.core.difference import Move
from vlm_inspect.core.module_tree import Pattern, below, prefixes, text

Key = Callable[[Pattern], object]

# each pair of patterns costs time, and a large model has millions of pairs with the same shape
_MOST_PAIRS = 1024
"""Pairs of one group; of a larger group only pairs with a common end or a common parent count."""
_FEWEST_PAIRS = 64
"""Pairs of one group that always count, however many groups there are."""
_MOST_PAIRS_IN_ALL = 1 << 15
"""Pairs of all groups with the same shapes, roughly."""
_LONGEST_END = 8


def find_moves(before: Side, after: Side) -> tuple[Move, ...]:
    """The moves from removed to added paths, the largest first; no unchanged path is below both ends."""
    return tuple(_Election(before, after).moves())


def votes(before: Side, after: Side) -> dict[Rule, list[Pair]]:
    """Each possible rename with the pairs of patterns that suggest it."""
    found: dict[Rule, dict[Pair, None]] = defaultdict(dict)
    old, new = _by_content(before), _by_content(after)
    for content in filter(new.__contains__, old):
        for pair in _pairs(old[content], new[content]):
            for rule in _rules(*pair):
                found[rule][pair] = None
    return {rule: list(pairs) for rule, pairs in found.items()}


def _by_content(side: Side) -> dict[tuple[object, ...], list[Pattern]]:
    """Patterns with the same numbers, shapes and roles."""
    groups: dict[tuple[object, ...], list[Pattern]] = defaultdict(list)
    for pattern, content in side.contents.items():
        groups[content].append(pattern)
    return groups


def _pairs(old: Sequence[Pattern], new: Sequence[Pattern]) -> Iterator[Pair]:
    if len(old) * len(new) <= _MOST_PAIRS:
        yield from product(old, new)
        return
    # n patterns in groups of g make n x g pairs, so g has to shrink as n grows
    size = _MOST_PAIRS_IN_ALL // max(len(old), len(new))
    most = min(max(size**2, _FEWEST_PAIRS), _MOST_PAIRS)
    yield from _pairs_with_common_end(old, new, 1, most)
    for one, other in _matched(old, new, lambda pattern: pattern[:-1]):
        if len(one) * len(other) <= most:
            yield from product(one, other)


def _pairs_with_common_end(old: Sequence[Pattern], new: Sequence[Pattern], length: int, most: int) -> Iterator[Pair]:
    """Pairs with a common end, in groups of at most `most`; the remaining patterns pair up in order."""
    rest, others = dict.fromkeys(old), dict.fromkeys(new)
    for one, other in _matched(old, new, lambda pattern: pattern[-length:]):
        for pattern in one:
            del rest[pattern]
        for pattern in other:
            del others[pattern]
        if len(one) * len(other) <= most:
            yield from product(one, other)
        elif length < _LONGEST_END:
            yield from _pairs_with_common_end(one, other, length + 1, most)
        else:
            yield from zip(one, other, strict=False)
    if length > 1:
        yield from zip(rest, others, strict=False)


def _matched(
    old: Sequence[Pattern], new: Sequence[Pattern], key: Key
) -> Iterator[tuple[list[Pattern], list[Pattern]]]:
    groups: dict[object, tuple[list[Pattern], list[Pattern]]] = defaultdict(lambda: ([], []))
    for pattern in old:
        groups[key(pattern)][0].append(pattern)
    for pattern in new:
        groups[key(pattern)][1].append(pattern)
    return ((one, other) for one, other in groups.values() if one and other)


def _rules(old: Pattern, new: Pattern) -> Iterator[Rule]:
    """The renames that lead from one pattern to the other: of any prefix before a common end."""
    yield Rule(old, new)
    for common in range(1, min(len(old), len(new)) + 1):
        if old[-common] != new[-common]:
            return
        yield Rule(old[: len(old) - common], new[: len(new) - common])


class _Candidate(Struct, eq=False):
    """A rule in the queue of an election."""

    rank: tuple[int, int, bool, int, int, list[Pattern], Pair]
    rule: Rule

    def __lt__(self, other: _Candidate) -> bool:
        return self.rank > other.rank  # heapq pops the smallest


class _Election:
    """Choose the best rule, remove its paths from all other rules, rank those again, and repeat."""

    def __init__(self, before: Side, after: Side) -> None:
        self.before, self.after = before, after
        self.evidence = Evidence(before, after)
        self.pairs = {rule: pairs for rule, pairs in votes(before, after).items() if self._is_allowed(rule)}
        self.queue = [self._candidate(rule) for rule in self.pairs]
        heapq.heapify(self.queue)
        self.covered: dict[str, set[Pattern]] = {"before": set(), "after": set()}
        """Prefixes of moved paths: a second move of one of them would contradict the first."""
        self.moved: dict[str, set[Pattern]] = {"before": set(), "after": set()}
        """The ends of the moves: a move of a shorter prefix does not apply below them."""
        self.waiting: dict[tuple[str, ...], dict[Rule, None]] = defaultdict(dict)
        """Rules without proof by their ends and parent, until a move changes what is below one of those."""

    def moves(self) -> Iterator[Move]:
        """One move after another, until no rule is left."""
        while self.queue:
            candidate = heapq.heappop(self.queue)
            rule = candidate.rule
            pairs = self._remaining_pairs(rule)
            if rule.before in self.covered["before"] or rule.after in self.covered["after"] or not pairs:
                continue
            current = self._candidate(rule)
            if current.rank != candidate.rank:
                heapq.heappush(self.queue, current)
            elif self.evidence.proves(rule, pairs):
                is_parameter = all(old == rule.before for old, _ in pairs)
                kind: Literal["module", "parameter"] = "parameter" if is_parameter else "module"
                yield Move(text(rule.before), text(rule.after), self._size(pairs), kind)
                self._apply(rule, pairs)
            else:
                for end in (("before", *rule.before), ("before", *rule.before[:-1]), ("after", *rule.after)):
                    self.waiting[end][rule] = None

    def _is_allowed(self, rule: Rule) -> bool:
        """Whether numbers stay in place, and no unchanged path is below both ends."""
        # what is true of all numbers is a move of the list
        if rule.before.count("*") != rule.after.count("*") or rule.before[-1:] == rule.after[-1:] == ("*",):
            return False
        return rule.before not in self.before.unchanged or rule.after not in self.after.unchanged

    def _remaining_pairs(self, rule: Rule) -> Sequence[Pair]:
        old, new = self.before.groups, self.after.groups
        self.pairs[rule] = [
            pair for pair in self.pairs[rule] if pair[0] in old and pair[1] in new and self._applies(rule, pair)
        ]
        return self.pairs[rule]

    def _applies(self, rule: Rule, pair: Pair) -> bool:
        """Whether no move of a longer prefix applies to the pair, in either direction."""
        longer_before, longer_after = below(pair[0], rule.before), below(pair[1], rule.after)
        return self.moved["before"].isdisjoint(longer_before) and self.moved["after"].isdisjoint(longer_after)

    def _apply(self, rule: Rule, pairs: Sequence[Pair]) -> None:
        self.moved["before"].add(rule.before)
        self.moved["after"].add(rule.after)
        self.evidence.add(rule)
        for old, new in pairs:
            self.before.remove(old)
            self.after.remove(new)
        for side, index in (("before", 0), ("after", 1)):
            ends = {prefix for pair in pairs for prefix in prefixes(pair[index])}
            depth = len(rule.before if side == "before" else rule.after)
            self.covered[side] |= {end for end in ends if len(end) >= depth}
            for end in ends:
                for waiting in self.waiting.pop((side, *end), ()):
                    if self._remaining_pairs(waiting):
                        heapq.heappush(self.queue, self._candidate(waiting))

    def _size(self, pairs: Sequence[Pair]) -> int:
        return sum(self.before.size(old) for old, _ in pairs)

    def _candidate(self, rule: Rule) -> _Candidate:
        """Most paths first, then most classes that stay, unambiguous rules, short rules, and the order of paths.

        The names decide last, without regard to the direction, so that diff(a, b) mirrors diff(b, a).
        """
        pairs = self.pairs[rule]
        drift = sum(abs(self.before.order[old] - self.after.order[new]) for old, new in pairs)
        length = len(rule.before) + len(rule.after)
        is_clear = not _is_ambiguous(rule, pairs)
        first = min((min(pair), max(pair)) for pair in pairs)
        in_same_class = self._size([pair for pair in pairs if self.evidence.keeps_owner(pair)])
        rank = self._size(pairs), in_same_class, is_clear, -length, -drift, sorted((rule.before, rule.after)), first
        return _Candidate(rank, rule)


def _is_ambiguous(rule: Rule, pairs: Sequence[Pair]) -> bool:
    """Whether `a.b` → `a` could also be `a.b.b` → `a.b`, which names the moved module."""
    if rule.before[:-1] == rule.after and rule.before:
        return all(old[len(rule.before)] == rule.before[-1] for old, _ in pairs if old != rule.before)
    if rule.after[:-1] == rule.before and rule.after:
        return all(new[len(rule.after)] == rule.after[-1] for _, new in pairs if new != rule.after)
    return False
