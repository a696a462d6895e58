"""What a cell says where there is no value. The reasons why there is none read differently.

`none`: the model has no such part. `unknown (why)`: it could not be told. `—`: the question does not
arise (a Linear has no layers). `not stated`: only the user could say, and has not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TypeVar

from msgspec.structs import replace

from vlm_inspect.render.cells import Cell, code, concat, text

ABSENT = text("none")
NOT_ASKED = text("—")
NOT_STATED = text("not stated")

_LONGEST_REASON = 60


def unknown(reason: str) -> Cell:
    """`unknown (needs remote code)`."""
    return text(f"unknown ({in_short(reason)})" if reason else "unknown")


def in_short(reason: str) -> str:
    """A reason that fits a cell: whole where it is short, else its beginning. The notes have all of it."""
    whole = " ".join(reason.split())
    if len(whole) <= _LONGEST_REASON:
        return whole
    return whole[:_LONGEST_REASON].rpartition(" ")[0].rstrip(",;:") + " …"


def is_cut(reason: str) -> bool:
    """Whether a cell shows less than the whole reason."""
    return len(" ".join(reason.split())) > _LONGEST_REASON


def missing(field: str, reasons: Mapping[str, str], otherwise: Cell = NOT_ASKED) -> Cell:
    """What stands for a field without a value: unknown where there is a reason."""
    return unknown(reasons[field]) if field in reasons else otherwise


def class_cell(class_name: str | None, reasons: Mapping[str, str]) -> Cell:
    """A class by its name in code, or why there is none."""
    return code(class_name) if class_name else missing("class_name", reasons)


_UNITS = ((10**12, "T", 2), (10**9, "B", 2), (10**6, "M", 0), (10**3, "K", 0))
_THOUSAND = 1000
_SMALLEST_SHARE = 0.1


def short_count(count: int) -> str:
    """`8.40B`, `282M`: as models' names and papers give it."""
    for index, (unit, letter, decimals) in enumerate(_UNITS):
        if count >= unit:
            if round(count / unit, decimals) >= _THOUSAND and index:
                unit, letter, decimals = _UNITS[index - 1]  # noqa: PLW2901 - 999.9M is 1.00B
            return f"{count / unit:.{decimals}f}{letter}"
    return str(count)


def exact_count(count: int) -> str:
    """`7,063,427,072`."""
    return f"{count:,}"


def share(part: int, total: int) -> str:
    """`4.3 %`; what is there and too little to show is `<0.1 %`."""
    percent = 100 * part / total if total else 0.0
    return "<0.1 %" if 0 < percent < _SMALLEST_SHARE else f"{percent:.1f} %"


def counted(count: int, noun: str) -> str:
    """`1 layer`, `24 layers`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def square(sides: tuple[int, ...]) -> str:
    """`336 x 336`."""
    return " x ".join(str(side) for side in sides)


MOST_WORDINGS = 4
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e-?\d+)?")


def shortened(cells: Sequence[Cell]) -> list[Cell]:
    """The cells where they are few; else those that differ in numbers alone as one, from first to last.

    A table's cell is a summary: the whole is what a model's own card tells.
    """
    if len(cells) <= MOST_WORDINGS:
        return list(cells)
    alike: dict[Cell, list[Cell]] = {}
    for cell in cells:
        alike.setdefault(_pattern(cell), []).append(cell)
    return [_range(group) for group in alike.values()]


def _pattern(cell: Cell) -> Cell:
    """The cell without its numbers; those of a name in code are the name's."""
    return tuple(span if span.code else replace(span, text=_NUMBER.sub("0", span.text)) for span in cell)


def _range(group: Sequence[Cell]) -> Cell:
    numbers = [_NUMBER.findall("|".join(span.text for span in cell if not span.code)) for cell in group]
    varying = [index for index, values in enumerate(zip(*numbers, strict=True)) if len(set(values)) > 1]
    if len(varying) > 1:
        return concat(group[0], text(" to "), group[-1])
    if not varying:
        return group[0]
    values = sorted((row[varying[0]] for row in numbers), key=float)
    return _with_number(group[0], varying[0], f"{values[0]} to {values[-1]}")


def _with_number(cell: Cell, place: int, words: str) -> Cell:
    """The cell with other words in the place of one of its numbers."""
    seen = -1

    def put(match: re.Match[str]) -> str:
        nonlocal seen
        seen += 1
        return words if seen == place else match[0]

    return tuple(span if span.code else replace(span, text=_NUMBER.sub(put, span.text)) for span in cell)


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
