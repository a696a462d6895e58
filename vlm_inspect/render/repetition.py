"""What repeats in a sequence, and how often."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TypeVar

Item = TypeVar("Item")


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


def pattern(order: Sequence[int]) -> tuple[tuple[tuple[int, int], ...], int]:
    """(kind, how many) in the order of appearance, and how often that repeats.

    A period is told where each kind stands together in it: 3 of one, then 1 of the other, 8 times.
    Any other order is told by the counts alone.
    """
    period = shortest_period(order)
    together = runs(order[:period])
    if len(together) == len(set(order)):
        return together, len(order) // period
    return tuple((kind, list(order).count(kind)) for kind in dict.fromkeys(order)), 1
