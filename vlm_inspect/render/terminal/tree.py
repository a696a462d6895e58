"""A module tree in a terminal, with the parameter counts in a column if there is room."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import RenderableType
from rich.text import Text

from vlm_inspect.core.module_tree import ModuleTree
from vlm_inspect.render.cells import Layout
from vlm_inspect.render.terminal.console import CODE, FAINT, GAP, INDENT, MIN_WIDTH, render_text
from vlm_inspect.render.tree import TreeLine, tree_lines

# the modules are cut to make room for the counts, but not below this
_MIN_MODULE_WIDTH = 40


def tree_terminal_text(
    tree: ModuleTree, *, focus: str = "", depth: int | None = None, width: int = 100, colour: bool = False
) -> str:
    """The tree, never wider than the terminal. Raises InvalidReferenceError if `focus` does not exist."""
    lines = tree_lines(tree, focus=focus, depth=depth)
    return render_text(_parts(lines, max(width, MIN_WIDTH)), Layout(width, colour))


def _parts(lines: Sequence[TreeLine], width: int) -> Iterator[RenderableType]:
    totals = [line.counts.partition(" ")[0] for line in lines]
    digits = max(len(total) for total in totals)
    longest = max(cell_len(line.printed) for line in lines)
    room = min(longest, width - digits - GAP)
    has_counts = room >= min(longest, _MIN_MODULE_WIDTH)
    for line, total in zip(lines, totals, strict=True):
        module = _module(line, room if has_counts else width)
        if total and has_counts:
            module.append(" " * (room - module.cell_len + GAP) + f"{total:>{digits}}")
            details = line.counts[len(total) :]
            if module.cell_len + cell_len(details) <= width:
                module.append(details, style=FAINT)
        yield module


def _module(line: TreeLine, room: int) -> Text:
    module = Text(no_wrap=True, overflow="crop")
    module.append(" " * (INDENT * line.indent) + line.name)
    module.append(line.class_name, style=CODE)
    module.append(line.rest, style=FAINT)
    if module.cell_len > room:
        module.truncate(room - 1)
        module.append("…")
    return module
