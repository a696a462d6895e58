"""Tied parameters in words: of a shared subtree one line, not one for each parameter below it."""

from __future__ import annotations

from collections.abc import Sequence

from vlm_inspect.render.cells import Cell, code, concat, join, text
from vlm_inspect.render.figures import counted

Group = Sequence[str]


def tie_cells(groups: Sequence[Group]) -> tuple[Cell, ...]:
    """`` `lm_head.weight` = `embed_tokens.weight` ``; `` `encoder` = `decoder` (626 parameters) ``."""
    shared: dict[tuple[str, ...], list[Group]] = {}
    for group in groups:
        shared.setdefault(_tops(group), []).append(group)
    return tuple(_cell(tops, below) for tops, below in shared.items())


def _cell(tops: tuple[str, ...], groups: list[Group]) -> Cell:
    if len(groups) == 1:
        return _equal(groups[0])
    return concat(_equal(tops), text(f" ({counted(len(groups), 'parameter')})"))


def _equal(paths: Group) -> Cell:
    return join((code(path) for path in paths), " = ")


def _tops(group: Group) -> tuple[str, ...]:
    """Where the paths of a tie begin to be the same to their ends: what is shared as a whole."""
    parts = [path.split(".") for path in group]
    while min(map(len, parts)) > 1 and len({names[-1] for names in parts}) == 1:
        parts = [names[:-1] for names in parts]
    return tuple(".".join(names) for names in parts)
