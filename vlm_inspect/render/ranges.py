"""Many wordings that differ in numbers alone, as few: `4 to 64 experts`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec.structs import replace

from vlm_inspect.render.cells import Cell, concat, text

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
