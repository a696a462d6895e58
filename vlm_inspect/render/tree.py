"""A module tree as PyTorch prints it, with repeated layers folded and parameter counts added (`tree`).

Without the counts and the lines of a module's own parameters, it is PyTorch's own print, line by line.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator
from itertools import groupby, islice
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from vlm_inspect.core.errors import InvalidReferenceError
from vlm_inspect.core.module_tree import UNKNOWN_CLASS, ModuleNode, ModuleTree, Shape, is_below, join
from vlm_inspect.render.cells import escape_control_chars
from vlm_inspect.render.text.values import UNCERTAIN, exact_count

_MAX_SEARCHED_PATHS = 50_000
_MAX_SUGGESTIONS = 5
_INDENT = "  "
_GAP = 2


class FoldedModule(Struct, frozen=True):
    """A module, or consecutive equal modules."""

    name: str
    """`layers`, or `0-26` for a range; for the top module `focus`, or empty."""
    class_name: str | None
    """None if it is unknown."""
    detail: str
    count: int
    parameters: int
    """Of one module; parameters that are tied within it are counted once."""
    own: tuple[tuple[str, Shape], ...]
    """Its own parameters, if it has submodules too; PyTorch's print does not show them."""
    children: tuple[FoldedModule, ...]
    tied_to: str | None = None
    is_cut: bool = False
    """Whether its children are hidden by the depth limit."""
    missing_reason: str = ""
    """Why it, or something below it, could not be built; `parameters` are then only the known ones."""
    unknown_class_reason: str = ""


class TreeLine(Struct, frozen=True):
    """A line of the printed tree."""

    indent: int
    name: str
    """`(0-26): 27 x `; empty if the line only closes a bracket."""
    class_name: str
    rest: str
    """Brackets, and the text between them."""
    counts: str = ""

    @property
    def printed(self) -> str:
        """The line without its counts."""
        return _INDENT * self.indent + self.name + self.class_name + self.rest


def fold(tree: ModuleTree, *, focus: str = "", depth: int | None = None) -> FoldedModule:
    """The tree, or the module at the path `focus`, down to a depth (0 is the module itself).

    Raises InvalidReferenceError if there is no module at `focus`.
    """
    node = tree.find(focus)
    if node is None:
        raise _no_such_module(tree, focus)
    return _Folding(tree).module(focus, node, focus, depth)


def tree_lines(tree: ModuleTree, *, focus: str = "", depth: int | None = None) -> tuple[TreeLine, ...]:
    """The lines of the folded tree. Raises InvalidReferenceError if there is no module at `focus`."""
    root, *lines = _lines(fold(tree, focus=focus, depth=depth), 0)
    if tree.uncertain and not focus:
        root = replace(root, counts=root.counts + UNCERTAIN)
    return (root, *lines)


def tree_text(tree: ModuleTree, *, focus: str = "", depth: int | None = None) -> str:
    """The folded tree as text, with the counts in a column."""
    lines = tree_lines(tree, focus=focus, depth=depth)
    width = max(len(line.printed) for line in lines) + _GAP
    digits = max(len(line.counts.partition(" ")[0]) for line in lines)
    return "".join(f"{_with_counts(line, width, digits)}\n" for line in lines)


def tree_data(tree: ModuleTree, *, focus: str = "", depth: int | None = None) -> dict[str, Any]:
    """The folded tree as data for JSON."""
    data = _data(fold(tree, focus=focus, depth=depth))
    return {**data, "uncertain": tree.uncertain} if tree.uncertain and not focus else data


class _Folding:
    """Lookup tables of one tree, while it is folded."""

    def __init__(self, tree: ModuleTree) -> None:
        self._duplicates = _duplicate_parameters(tree)
        self._missing = tree.missing_modules
        self._unknowns = tree.unknowns
        self._tied_to = {path: group[0] for group in tree.ties for path in group[1:]}
        self._shape_ids: dict[int, int] = {}
        self._known_shapes: dict[object, int] = {}

    def module(self, name: str, node: ModuleNode, path: str, depth: int | None, count: int = 1) -> FoldedModule:
        is_cut = depth == 0 and bool(node.children)
        child_depth = None if depth is None else depth - 1
        parameter_paths = (join(path, parameter) for parameter, _ in node.parameters)
        missing = (reason for missing, reason in self._missing.items() if is_below(missing, path))
        return FoldedModule(
            name=name,
            class_name=None if node.inferred else node.class_name,
            detail=node.detail,
            count=count,
            parameters=node.total - self._duplicates.get(path, 0),
            own=node.parameters if node.children and not is_cut else (),
            children=() if is_cut else tuple(self._children(node, path, child_depth)),
            tied_to=next((self._tied_to[each] for each in parameter_paths if each in self._tied_to), None),
            is_cut=is_cut,
            missing_reason=next(missing, ""),
            unknown_class_reason=self._unknowns.why_class_unknown(path) if node.inferred else "",
        )

    def _children(self, node: ModuleNode, path: str, depth: int | None) -> Iterator[FoldedModule]:
        for _, group in groupby(enumerate(node.children), key=self._fold_key):
            run = [child for _, child in group]
            first, child = run[0]
            name = first if len(run) == 1 else f"{first}-{run[-1][0]}"
            yield self.module(name, child, join(path, first), depth, len(run))

    def _fold_key(self, position: tuple[int, tuple[str, ModuleNode]]) -> object:
        """Equal for neighbours that fold: of equal shape and numbered consecutively."""
        index, (name, node) = position
        return (int(name) - index, self._shape_id(node)) if name.isdecimal() else name

    def _shape_id(self, node: ModuleNode) -> int:
        """A number for the printed form of a module; attributes are not part of it."""
        if id(node) not in self._shape_ids:
            children = tuple((name, self._shape_id(child)) for name, child in node.children)
            shape = (node.class_name, node.detail, node.parameters, children)
            self._shape_ids[id(node)] = self._known_shapes.setdefault(shape, len(self._known_shapes))
        return self._shape_ids[id(node)]


def _duplicate_parameters(tree: ModuleTree) -> dict[str, int]:
    """For each module path, the parameters that are counted twice below it because they are tied."""
    shapes = tree.shapes_of({path for group in tree.ties for path in group})
    duplicates: dict[str, int] = {}
    for group in tree.ties:
        seen: set[str] = set()
        for path in group:
            for ancestor in _ancestors(path):
                if ancestor in seen:
                    duplicates[ancestor] = duplicates.get(ancestor, 0) + math.prod(shapes[path])
                seen.add(ancestor)
    return duplicates


def _ancestors(path: str) -> Iterator[str]:
    while path:
        path = path.rpartition(".")[0]
        yield path


def _no_such_module(tree: ModuleTree, focus: str) -> InvalidReferenceError:
    paths = [path for path, _ in islice(tree.root.walk(), _MAX_SEARCHED_PATHS) if path]
    same_end = [path for path in paths if path.endswith(f".{focus}")]
    close = same_end or difflib.get_close_matches(focus, dict.fromkeys(paths), n=_MAX_SUGGESTIONS, cutoff=0.5)
    suggestions = close or [name for name, _ in tree.root.children]
    return InvalidReferenceError(
        f"the model has no module {focus[:200]!r}.",
        hint=f"Closest paths: {', '.join(suggestions[:_MAX_SUGGESTIONS])}" if suggestions else "",
    )


def _lines(node: FoldedModule, indent: int) -> Iterator[TreeLine]:
    prefix = f"({escape_control_chars(node.name)}): " if node.name else ""
    prefix += f"{node.count} x " if node.count > 1 else ""
    class_name = escape_control_chars(node.class_name) if node.class_name else UNKNOWN_CLASS
    if not node.children and not node.own:
        inside = "..." if node.is_cut else escape_control_chars(node.detail)
        yield TreeLine(indent, prefix, class_name, f"({inside})", _counts(node))
        return
    yield TreeLine(indent, prefix, class_name, "(", _counts(node))
    if node.detail:
        yield TreeLine(indent + 1, "", "", escape_control_chars(node.detail))
    for name, shape in node.own:
        sizes = f"({', '.join(str(size) for size in shape)})"
        count = exact_count(math.prod(shape))
        yield TreeLine(indent + 1, f"({escape_control_chars(name)}): ", "Parameter", sizes, count)
    for child in node.children:
        yield from _lines(child, indent + 1)
    yield TreeLine(indent, "", "", ")")


def _counts(node: FoldedModule) -> str:
    """`411,466,608 = 27 x 15,239,504`; empty if there are no parameters."""
    each = exact_count(node.parameters)
    if node.missing_reason:
        return f"{each} + unknown" if node.parameters else f"unknown ({node.missing_reason})"
    if not node.parameters:
        return ""
    total = f"{exact_count(node.count * node.parameters)} = {node.count} x " if node.count > 1 else ""
    counts = total + each
    return f"{counts} tied to {escape_control_chars(node.tied_to)}" if node.tied_to else counts


def _with_counts(line: TreeLine, width: int, digits: int) -> str:
    total, gap, details = line.counts.partition(" ")
    return f"{line.printed:<{width}}{total:>{digits}}{gap}{details}".rstrip() if total else line.printed


def _data(node: FoldedModule) -> dict[str, Any]:
    data: dict[str, Any] = {
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
    reasons = {"class_name": node.unknown_class_reason} if node.unknown_class_reason else {}
    if node.missing_reason:
        reasons |= dict.fromkeys(("parameters_each", "parameters"), node.missing_reason)
    return {**data, **dict.fromkeys(reasons), "unknown": reasons} if reasons else data
