"""Renames recognised: which paths moved, and to where.

A removed path and an added one of the same shape suggest that the part in which they differ was
renamed: `a.b.X` and `a.X` suggest `a.b` → `a`. Every pair votes; the suggestion with the most votes that
accounts for the greater part of what is below both its ends is a move, and the search goes on without
what it explains. Layers' numbers are `*`, so that a move of all layers is one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from vlm_inspect.difference import Move
from vlm_inspect.tree import Shape

Pattern = tuple[str, ...]
Numbers = tuple[str, ...]
Paths = Mapping[str, Shape]
Pairs = list[tuple[Pattern, Pattern]]


@dataclass(frozen=True, slots=True)
class _Rule:
    before: Pattern
    after: Pattern


class _Side:
    """The paths of one side that are not accounted for yet, by pattern."""

    def __init__(self, paths: Paths, kept: Collection[str]) -> None:
        self.groups: dict[Pattern, dict[Numbers, Shape]] = defaultdict(dict)
        for path, shape in paths.items():
            pattern, numbers = split(path)
            self.groups[pattern][numbers] = shape
        self.order = {pattern: index for index, pattern in enumerate(self.groups)}
        self.kept = {split(path)[0] for path in kept}

    def below(self, prefix: Pattern) -> int:
        """Paths at and below a prefix."""
        return sum(len(group) for pattern, group in self.groups.items() if _starts(pattern, prefix))

    def keeps_below(self, prefix: Pattern) -> bool:
        """Whether something below a prefix stayed where it is."""
        return any(_starts(pattern, prefix) for pattern in self.kept)

    def size(self, pattern: Pattern) -> int:
        """Paths of one pattern."""
        return len(self.groups[pattern])


def find_moves(removed: Paths, added: Paths, kept: Collection[str] = ()) -> tuple[Move, ...]:
    """The moves that lead from the removed paths to the added ones, the largest first.

    `kept` are the paths that both have: a move that would take them along is told in smaller parts.
    """
    before, after = _Side(removed, kept), _Side(added, kept)
    moves = []
    while (best := _best(before, after)) is not None:
        rule, pairs = best
        moves.append(Move(text(rule.before), text(rule.after), sum(before.size(old) for old, _ in pairs)))
        for old, new in pairs:
            del before.groups[old], after.groups[new]
    return tuple(moves)


def apply_moves(path: str, moves: Iterable[Move]) -> str:
    """Where a path is that the new tree does not have: the longest prefix that moved decides."""
    pattern, numbers = split(path)
    fitting = [move for move in moves if _starts(pattern, _pattern(move.before))]
    if not fitting:
        return path
    move = max(fitting, key=lambda move: len(_pattern(move.before)))
    old, new = _pattern(move.before), _pattern(move.after)
    return ".".join(_numbered((*new, *pattern[len(old) :]), numbers))


def split(path: str) -> tuple[Pattern, Numbers]:
    """A path with its numbers replaced by `*`, and the numbers."""
    parts = path.split(".")
    numbers = tuple(part for part in parts if part.isdigit())
    return tuple("*" if part.isdigit() else part for part in parts), numbers


def text(pattern: Pattern) -> str:
    """A pattern as it is written."""
    return ".".join(pattern)


def _pattern(written: str) -> Pattern:
    return tuple(written.split(".")) if written else ()


def _starts(pattern: Pattern, prefix: Pattern) -> bool:
    return pattern[: len(prefix)] == prefix


def _numbered(pattern: Pattern, numbers: Numbers) -> Iterator[str]:
    left = iter(numbers)
    return (next(left, "*") if part == "*" else part for part in pattern)


def _best(before: _Side, after: _Side) -> tuple[_Rule, Pairs] | None:
    votes: dict[_Rule, Pairs] = defaultdict(list)
    for old, new in _alike(before, after):
        for rule in _rules(old, new):
            votes[rule].append((old, new))
    ranked = sorted(votes.items(), key=lambda vote: _rank(*vote, before, after), reverse=True)
    for rule, pairs in ranked:
        chosen = _one_to_one(pairs)
        if _is_sound(rule, chosen, before, after):
            return rule, chosen
    return None


def _one_to_one(pairs: Pairs) -> Pairs:
    """Each pattern once: under one rule a pattern has one counterpart, unless it was listed again."""
    return list({old: (old, new) for old, new in reversed(pairs)}.values())[::-1]


def _alike(before: _Side, after: _Side) -> Iterator[tuple[Pattern, Pattern]]:
    """Pairs of patterns that hold the same numbers and shapes."""
    known: dict[tuple[object, ...], list[Pattern]] = defaultdict(list)
    for pattern, group in after.groups.items():
        known[tuple(sorted(group.items()))].append(pattern)
    for pattern, group in before.groups.items():
        for candidate in known.get(tuple(sorted(group.items())), ()):
            yield pattern, candidate


def _rules(old: Pattern, new: Pattern) -> Iterator[_Rule]:
    """What may have been renamed to lead from one to the other: what is before a common end."""
    yield _Rule(old, new)
    for common in range(1, min(len(old), len(new)) + 1):
        if old[-common] != new[-common]:
            return
        yield _Rule(old[: len(old) - common], new[: len(new) - common])


def _is_sound(rule: _Rule, pairs: Pairs, before: _Side, after: _Side) -> bool:
    """More than a chance of shapes.

    Numbers keep their place, nothing that stayed lies below both ends, most of what is below either end
    moved, and the ends are related or several paths say the same.
    """
    if rule.before.count("*") != rule.after.count("*"):
        return False
    if before.keeps_below(rule.before) and after.keeps_below(rule.after):
        return False
    moved = sum(before.size(old) for old, _ in pairs)
    if 2 * moved < before.below(rule.before) or 2 * moved < after.below(rule.after):
        return False
    return _is_related(rule) or len(pairs) > 1


def _is_related(rule: _Rule) -> bool:
    """One end lies inside the other, or both beside each other under one parent, or they end alike."""
    if _starts(rule.before, rule.after) or _starts(rule.after, rule.before):
        return True
    if rule.before[:-1] == rule.after[:-1]:
        return True
    return rule.before[-1] == rule.after[-1]


def _rank(
    rule: _Rule, pairs: Sequence[tuple[Pattern, Pattern]], before: _Side, after: _Side
) -> tuple[int, int, int, list[str]]:
    """Most paths first; of equal ones the shortest rule, then the one whose paths kept their place.

    The last word has the name, whichever way round: both directions must choose alike.
    """
    moved = sum(before.size(old) for old, _ in pairs)
    drift = sum(abs(before.order[old] - after.order[new]) for old, new in pairs)
    length = len(rule.before) + len(rule.after)
    return moved, -length, -drift, sorted((text(rule.before), text(rule.after)))
