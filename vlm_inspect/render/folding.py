"""A module tree with its repeated layers folded, as torch's own print folds them."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator
from itertools import groupby, islice

from msgspec import Struct

from vlm_inspect.errors import InvalidReferenceError
from vlm_inspect.tree import ModuleNode, ModuleTree, Shape, is_below, join

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
