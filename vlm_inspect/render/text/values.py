"""Basic cell text: placeholders for missing values, numbers, and repeating sequences.

A missing value is one of four things: `none` (the model has no such part), `unknown (reason)` (it could not
be determined), `—` (not applicable: a Linear has no layers) or `not stated` (only the user can state it).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count as counter
from itertools import groupby
from typing import TypeVar

from msgspec.structs import replace

from vlm_inspect.render.cells import Cell, code, concat, text

ABSENT = text("none")
NOT_APPLICABLE = text("—")
NOT_STATED = text("not stated")
UNCERTAIN = " (?)"
"""Follows a count that depends on a checkpoint that was not available."""

_MAX_REASON_LENGTH = 60

_UNITS = ((10**12, "T", 2), (10**9, "B", 2), (10**6, "M", 0), (10**3, "K", 0))
_THOUSAND = 1000
_SMALLEST_SHARE = 0.1

MAX_VARIANTS = 4
"""Variants of a cell (one per kind of layer, say) that are listed in full."""
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e-?\d+)?")

Item = TypeVar("Item")
Runs = tuple[tuple[int, int], ...]
"""(kind, length) of each run, in order."""
Segment = tuple[Runs, int]
"""Runs, and how often they repeat together."""
_Pattern = tuple[int, tuple[Segment, ...]]
"""Number of runs that are written, and the segments."""

_MAX_PATTERN_ITEMS = 160
_MAX_PATTERN_RUNS = 8


def unknown(reason: str) -> Cell:
    """`unknown (needs remote code)`; a long reason is truncated, the notes have it in full."""
    if not reason:
        return text("unknown")
    whole = " ".join(reason.split())
    if len(whole) > _MAX_REASON_LENGTH:
        whole = whole[:_MAX_REASON_LENGTH].rpartition(" ")[0].rstrip(",;:") + " …"
    return text(f"unknown ({whole})")


def is_truncated(reason: str) -> bool:
    """Whether a cell shows only the beginning of the reason."""
    return len(" ".join(reason.split())) > _MAX_REASON_LENGTH


def missing(field: str, reasons: Mapping[str, str], otherwise: Cell = NOT_APPLICABLE) -> Cell:
    """The placeholder of a field without a value: `unknown` if there is a reason, else `otherwise`."""
    return unknown(reasons[field]) if field in reasons else otherwise


def class_cell(class_name: str | None, reasons: Mapping[str, str]) -> Cell:
    """A class name in code, or its placeholder."""
    return code(class_name) if class_name else missing("class_name", reasons)


def short_count(count: int) -> str:
    """`8.40B`, `282M`: rounded as in model names and papers."""
    for index, (unit, letter, decimals) in enumerate(_UNITS):
        if count >= unit:
            if round(count / unit, decimals) >= _THOUSAND and index:
                unit, letter, decimals = _UNITS[index - 1]  # noqa: PLW2901 - 999.9M is 1.00B
            return f"{count / unit:.{decimals}f}{letter}"
    return str(count)


def exact_count(count: int) -> str:
    """`7,063,427,072`."""
    return f"{count:,}"


def number_text(value: float) -> str:
    """`10000`, `1.5`, `1e-05`: a whole number without a decimal point."""
    return str(int(value)) if float(value).is_integer() else str(value)


def count_cell(count: int | None, field: str, reasons: Mapping[str, str]) -> Cell:
    """An exact count, or its placeholder."""
    return missing(field, reasons) if count is None else text(exact_count(count))


def share(part: int, total: int) -> str:
    """`4.3 %`; a small share that is not zero is `<0.1 %`."""
    percent = 100 * part / total if total else 0.0
    return "<0.1 %" if 0 < percent < _SMALLEST_SHARE else f"{percent:.1f} %"


def plural(count: int, noun: str) -> str:
    """`1 layer`, `24 layers`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def dimensions(sides: Sequence[int]) -> str:
    """`336 x 336`."""
    return " x ".join(map(str, sides))


def collapse_similar(cells: Sequence[Cell]) -> list[Cell]:
    """The cells if they are few; else cells that differ only in numbers become one range.

    Table cells are summaries; the model's card has every value.
    """
    if len(cells) <= MAX_VARIANTS:
        return list(cells)
    groups: dict[Cell, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(_replace_numbers(cell, lambda _: "0"), []).append(cell)
    return [_range(group) for group in groups.values()]


def _range(group: Sequence[Cell]) -> Cell:
    numbers = [_NUMBER.findall("|".join(span.text for span in cell if not span.code)) for cell in group]
    varying = [index for index, values in enumerate(zip(*numbers, strict=True)) if len(set(values)) > 1]
    if len(varying) > 1:
        return concat(group[0], text(" to "), group[-1])
    if not varying:
        return group[0]
    values = sorted((row[varying[0]] for row in numbers), key=float)
    positions = counter()
    only = f"{values[0]} to {values[-1]}"
    return _replace_numbers(group[0], lambda match: only if next(positions) == varying[0] else match[0])


def _replace_numbers(cell: Cell, replacement: Callable[[re.Match[str]], str]) -> Cell:
    """Replace each number that is not in code."""
    return tuple(span if span.code else replace(span, text=_NUMBER.sub(replacement, span.text)) for span in cell)


def shortest_period(items: Sequence[object]) -> int:
    """The length of the shortest prefix that, repeated, gives the whole sequence."""
    length = len(items)
    for period in range(1, length):
        if length % period == 0 and all(items[i] == items[i - period] for i in range(period, length)):
            return period
    return length


def runs(items: Sequence[Item]) -> tuple[tuple[Item, int], ...]:
    """Equal neighbours as (item, count)."""
    return tuple((item, len(list(group))) for item, group in groupby(items))


def kind_counts(order: Sequence[int]) -> Runs:
    """(kind, total count), in the order of first appearance."""
    return tuple((kind, list(order).count(kind)) for kind in dict.fromkeys(order))


def find_pattern(order: Sequence[int]) -> tuple[Segment, ...] | None:
    """The shortest exact description of a sequence as repeated runs; None if even that is long.

    `((((0, 5), (1, 1)), 5), (((0, 4),), 1))`: five of kind 0 and one of kind 1, repeated 5 times, then four
    of kind 0.
    """
    if len(order) > _MAX_PATTERN_ITEMS:
        return None
    best: list[_Pattern] = [(0, ())]  # of the items from each position on, the first position in front
    for start in reversed(range(len(order))):
        shortest = min(_patterns_from(order, start, best), key=lambda each: (each[0], len(each[1])))
        best.insert(0, shortest)
    run_count, segments = best[0]
    return segments if run_count <= _MAX_PATTERN_RUNS else None


def _patterns_from(order: Sequence[int], start: int, best: Sequence[_Pattern]) -> Iterator[_Pattern]:
    """Patterns of `order[start:]`: a run or a repeated body, then the best pattern of the remainder."""
    length = len(order) - start
    for size in range(1, length + 1):
        if order[start + size - 1] != order[start]:
            break
        run_count, rest = best[size - 1]
        run = (order[start], size)
        can_merge = bool(rest) and rest[0][1] == 1  # runs that do not repeat share one segment
        yield run_count + 1, (((run, *rest[0][0]), 1), *rest[1:]) if can_merge else (((run,), 1), *rest)
    for period in range(2, length // 2 + 1):
        body = order[start : start + period]
        for times in range(2, length // period + 1):
            if order[start + (times - 1) * period : start + times * period] != body:
                break
            run_count, rest = best[times * period - 1]
            yield run_count + len(runs(body)), ((runs(body), times), *rest)
