"""`tree`: a module tree as torch prints it, with parameters beside.

Without the counts, and without the lines of parameters that a module holds itself, it is torch's own
print, line by line.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from vlm_inspect.render.cells import visible
from vlm_inspect.render.figures import exact_count
from vlm_inspect.render.folding import Folded, fold
from vlm_inspect.tree import UNKNOWN_CLASS, ModuleTree, Shape

_STEP = "  "
_GAP = 2


class TreeLine(Struct, frozen=True):
    """A line of the print: what torch prints, and what is said beside it."""

    indent: int
    name: str
    """`(0-26): 27 x `; empty where a line only closes a bracket."""
    class_name: str
    rest: str
    """Brackets, and what is between them."""
    counts: str = ""

    @property
    def printed(self) -> str:
        """The line without its counts."""
        return _STEP * self.indent + self.name + self.class_name + self.rest


def tree_lines(tree: ModuleTree, *, focus: str = "", depth: int | None = None) -> tuple[TreeLine, ...]:
    """The tree's lines. Raises InvalidReferenceError where there is no module at `focus`."""
    return tuple(_lines(fold(tree, focus=focus, depth=depth), 0))


def tree_text(tree: ModuleTree, *, focus: str = "", depth: int | None = None) -> str:
    """The tree as text, counts in a column of their own."""
    lines = tree_lines(tree, focus=focus, depth=depth)
    return "".join(f"{line}\n" for line in _aligned(lines))


def tree_data(tree: ModuleTree, *, focus: str = "", depth: int | None = None) -> dict[str, Any]:
    """The folded tree as JSON-able data."""
    return _data(fold(tree, focus=focus, depth=depth))


def _aligned(lines: tuple[TreeLine, ...]) -> Iterator[str]:
    width = max(len(line.printed) for line in lines) + _GAP
    digits = max(len(line.counts.partition(" ")[0]) for line in lines)
    for line in lines:
        total, gap, rest = line.counts.partition(" ")
        yield f"{line.printed:<{width}}{total:>{digits}}{gap}{rest}".rstrip() if total else line.printed


def _lines(node: Folded, indent: int) -> Iterator[TreeLine]:
    prefix = f"({visible(node.name)}): " if node.name else ""
    prefix += f"{node.count} x " if node.count > 1 else ""
    shown = visible(node.class_name) if node.class_name else UNKNOWN_CLASS
    if not node.children and not node.own:
        inside = "..." if node.is_cut else visible(node.detail)
        yield TreeLine(indent, prefix, shown, f"({inside})", _counts(node))
        return
    yield TreeLine(indent, prefix, shown, "(", _counts(node))
    if node.detail:
        yield TreeLine(indent + 1, "", "", visible(node.detail))
    for name, shape in node.own:
        yield TreeLine(
            indent + 1, f"({visible(name)}): ", "Parameter", _sides(shape), exact_count(math.prod(shape))
        )
    for child in node.children:
        yield from _lines(child, indent + 1)
    yield TreeLine(indent, "", "", ")")


def _counts(node: Folded) -> str:
    """`411,466,608 = 27 x 15,239,504`; nothing where there is no parameter."""
    if node.unbuilt:
        return f"{exact_count(node.parameters)} + unknown" if node.parameters else f"unknown ({node.unbuilt})"
    if not node.parameters:
        return ""
    each = exact_count(node.parameters)
    told = f"{exact_count(node.count * node.parameters)} = {node.count} x {each}" if node.count > 1 else each
    return f"{told} tied to {visible(node.tied_to)}" if node.tied_to else told


def _sides(shape: Shape) -> str:
    return f"({', '.join(str(side) for side in shape)})"


def _data(node: Folded) -> dict[str, Any]:
    data = _known_data(node)
    counts = dict.fromkeys(("parameters_each", "parameters") if node.unbuilt else (), node.unbuilt)
    classes = dict.fromkeys(("class_name",) if node.nameless else (), node.nameless)
    reasons = {**classes, **counts}
    return {**data, **dict.fromkeys(reasons), "unknown": reasons} if reasons else data


def _known_data(node: Folded) -> dict[str, Any]:
    return {
        "name": node.name,
        "class_name": node.class_name,
        "detail": node.detail,
        "count": node.count,
        "parameters_each": node.parameters,
        "parameters": node.count * node.parameters,
        "own_parameters": {name: list(shape) for name, shape in node.own},
        "tied_to": node.tied_to,
        "cut": node.is_cut,
        "children": [_data(child) for child in node.children],
    }
