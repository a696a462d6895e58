"""A module tree in a terminal: counts beside the modules where there is room."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import RenderableType
from rich.text import Text

from vlm_inspect.core.module_tree import ModuleTree
from vlm_inspect.render.cells import Layout
from vlm_inspect.render.terminal.console import CODE, FAINT, NARROWEST, printed
from vlm_inspect.render.tree import TreeLine, tree_lines

_STEP = 2
_GAP = 2
# what torch prints between brackets is cut where the counts would have no place
_LEAST_PRINTED = 40


def terminal_tree(
    tree: ModuleTree, *, focus: str = "", depth: int | None = None, width: int = 100, colour: bool = False
) -> str:
    """The tree, never wider than the terminal. Raises InvalidReferenceError for an unknown `focus`."""
    lines = tree_lines(tree, focus=focus, depth=depth)
    return printed(_parts(lines, max(width, NARROWEST)), Layout(width, colour))


def _parts(lines: Sequence[TreeLine], width: int) -> Iterator[RenderableType]:
    totals = [line.counts.partition(" ")[0] for line in lines]
    digits = max(len(total) for total in totals)
    longest = max(cell_len(line.printed) for line in lines)
    room = min(longest, width - digits - _GAP)
    for line, total in zip(lines, totals, strict=True):
        told = _printed(line, room if room >= min(longest, _LEAST_PRINTED) else width)
        if total and room >= min(longest, _LEAST_PRINTED):
            told.append(" " * (room - told.cell_len + _GAP))
            told.append(f"{total:>{digits}}")
            rest = line.counts[len(total) :]
            if told.cell_len + cell_len(rest) <= width:
                told.append(rest, style=FAINT)
        yield told


def _printed(line: TreeLine, room: int) -> Text:
    told = Text(no_wrap=True, overflow="crop")
    told.append(" " * (_STEP * line.indent) + line.name)
    told.append(line.class_name, style=CODE)
    told.append(line.rest, style=FAINT)
    if told.cell_len > room:
        told.truncate(room - 1)
        told.append("…")
    return told
