"""`tree`: a module tree as torch prints it, with parameters beside.

Without the counts, and without the lines of parameters that a module holds itself, it is torch's own
print, line by line.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator
from itertools import groupby, islice
from typing import Any

from msgspec import Struct

from vlm_inspect.core.errors import InvalidReferenceError
from vlm_inspect.core.module_tree import UNKNOWN_CLASS, ModuleNode, ModuleTree, Shape, is_below, join
from vlm_inspect.render.cells import visible
from vlm_inspect.render.text.values import exact_count

_MOST_PATHS = 50_000
_MOST_SUGGESTIONS = 5


class Folded(Struct, frozen=True):
    """A module, or a run of modules that are alike."""

    name: str
    """`layers`, or `0-26` of a run; the path in focus, or nothing, of the tree's top."""
    class_name: str | None
    """None where it is unknown."""
    detail: str
    count: int
    parameters: int
    """Of one module; a parameter tied to one inside the same module is counted once."""
    own: tuple[tuple[str, Shape], ...]
    """Parameters that it holds itself beside its modules; torch's print does not show them."""
    children: tuple[Folded, ...]
    tied_to: str | None = None
    is_cut: bool = False
    """Whether it has children that the depth asked for hides."""
    unbuilt: str = ""
    """Why it, or something below it, could not be built: then the parameters are what is known of them."""
    nameless: str = ""
    """Why its class is unknown."""


def fold(tree: ModuleTree, *, focus: str = "", depth: int | None = None) -> Folded:
    """The tree, or what is below the path in focus, down to a depth (the top is 0).

    Raises InvalidReferenceError where there is no such path.
    """
    node = tree.find(focus)
    if node is None:
        raise _no_such_path(tree, focus)
    return _Folding(tree).module(focus, node, focus, depth)


class _Folding:
    """What is looked up while a tree is folded."""

    def __init__(self, tree: ModuleTree) -> None:
        self._surplus = _surplus(tree)
        self._unbuilt = tree.missing_modules
        self._unknowns = tree.unknowns
        self._tied_to = {path: group[0] for group in tree.ties for path in group[1:]}
        self._shapes: dict[int, object] = {}
        self._known: dict[object, int] = {}

    def module(self, name: str, node: ModuleNode, path: str, depth: int | None, count: int = 1) -> Folded:
        is_cut = depth == 0 and bool(node.children)
        below = None if depth is None else depth - 1
        return Folded(
            name=name,
            class_name=None if node.inferred else node.class_name,
            detail=node.detail,
            count=count,
            parameters=node.total - self._surplus.get(path, 0),
            own=node.parameters if node.children and not is_cut else (),
            children=() if is_cut else tuple(self._children(node, path, below)),
            tied_to=self._tie_of(node, path),
            is_cut=is_cut,
            unbuilt=next((why for at, why in self._unbuilt.items() if is_below(at, path)), ""),
            nameless=self._unknowns.why_class_unknown(path) if node.inferred else "",
        )

    def _children(self, node: ModuleNode, path: str, depth: int | None) -> Iterator[Folded]:
        for _, group in groupby(enumerate(node.children), key=self._alike):
            run = [child for _, child in group]
            first, child = run[0]
            name = first if len(run) == 1 else f"{first}-{run[-1][0]}"
            yield self.module(name, child, join(path, first), depth, len(run))

    def _alike(self, place: tuple[int, tuple[str, ModuleNode]]) -> object:
        """Equal for neighbours that fold: numbered without a gap, and of one shape."""
        index, (name, node) = place
        return (int(name) - index, self._shape(node)) if name.isdecimal() else name

    def _shape(self, node: ModuleNode) -> int:
        """A number for each shape of module: class, detail, parameters, children; attributes do not show."""
        if id(node) not in self._shapes:
            below = tuple((name, self._shape(child)) for name, child in node.children)
            shape = (node.class_name, node.detail, node.parameters, below)
            self._shapes[id(node)] = self._known.setdefault(shape, len(self._known))
        return self._shapes[id(node)]  # type: ignore[return-value]

    def _tie_of(self, node: ModuleNode, path: str) -> str | None:
        return next(
            (tie for name, _ in node.parameters if (tie := self._tied_to.get(join(path, name)))), None
        )


def _surplus(tree: ModuleTree) -> dict[str, int]:
    """For each module: the parameters that lie below it twice, because they are tied."""
    shapes = tree.shapes_of({path for group in tree.ties for path in group})
    surplus: dict[str, int] = {}
    for group in tree.ties:
        met: set[str] = set()
        for path in group:
            for ancestor in _ancestors(path):
                if ancestor in met:
                    surplus[ancestor] = surplus.get(ancestor, 0) + math.prod(shapes[path])
                met.add(ancestor)
    return surplus


def _ancestors(path: str) -> Iterator[str]:
    while path:
        path = path.rpartition(".")[0]
        yield path


def _no_such_path(tree: ModuleTree, focus: str) -> InvalidReferenceError:
    paths = [path for path, _ in islice(tree.root.walk(), _MOST_PATHS) if path]
    ending = [path for path in paths if path.endswith(f".{focus}")]
    close = ending or difflib.get_close_matches(focus, dict.fromkeys(paths), n=_MOST_SUGGESTIONS, cutoff=0.5)
    suggestions = close or [name for name, _ in tree.root.children]
    return InvalidReferenceError(
        f"the model has no module {focus[:200]!r}.",
        hint=f"Closest paths: {', '.join(suggestions[:_MOST_SUGGESTIONS])}" if suggestions else "",
    )


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
