"""What repeats in a sequence, and how often."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TypeVar

Item = TypeVar("Item")
Runs = tuple[tuple[int, int], ...]
"""(kind, how many in a row), in order."""
Segment = tuple[Runs, int]
"""Runs, and how often they repeat as a whole."""
Told = tuple[int, tuple[Segment, ...]]
"""How many runs it takes to say, and what is said."""

_MOST_ITEMS = 160
_LONGEST_PATTERN = 8


def shortest_period(items: Sequence[object]) -> int:
    """The length of the shortest beginning that, repeated in full, is the whole sequence."""
    length = len(items)
    for period in range(1, length):
        if length % period == 0 and all(items[i] == items[i - period] for i in range(period, length)):
            return period
    return length


def runs(items: Sequence[Item]) -> tuple[tuple[Item, int], ...]:
    """Equal neighbours as (item, how many)."""
    return tuple((item, len(list(group))) for item, group in groupby(items))


def pattern(order: Sequence[int]) -> tuple[Segment, ...] | None:
    """The shortest way to tell a sequence exactly; None where even that is long.

    5 of one and 1 of the other, 5 times, then 4 of the one: `((((0, 5), (1, 1)), 5), (((0, 4),), 1))`.
    """
    if len(order) > _MOST_ITEMS:
        return None
    best: list[Told] = [(0, ())]
    for start in reversed(range(len(order))):
        best.insert(0, min(_from(order, start, best), key=lambda told: (told[0], len(told[1]))))
    cost, segments = best[0]
    return segments if cost <= _LONGEST_PATTERN else None


def totals(order: Sequence[int]) -> Runs:
    """(kind, how many of it there are), in the order of appearance."""
    return tuple((kind, list(order).count(kind)) for kind in dict.fromkeys(order))


def _from(order: Sequence[int], start: int, best: Sequence[Told]) -> Iterator[Told]:
    """Ways to tell the items from one on: as a run or as a body that repeats, and then the best of the rest.

    `best` begins with the best of what comes after the first of them.
    """
    length = len(order) - start
    for size in range(1, length + 1):
        if order[start + size - 1] != order[start]:
            break
        cost, rest = best[size - 1]
        run = (order[start], size)
        plain = bool(rest) and rest[0][1] == 1  # neighbours that do not repeat are one segment
        yield cost + 1, (((run, *rest[0][0]), 1), *rest[1:]) if plain else (((run,), 1), *rest)
    for period in range(2, length // 2 + 1):
        body = order[start : start + period]
        for times in range(2, length // period + 1):
            if order[start + (times - 1) * period : start + times * period] != body:
                break
            cost, rest = best[times * period - 1]
            yield cost + len(runs(body)), ((runs(body), times), *rest)
