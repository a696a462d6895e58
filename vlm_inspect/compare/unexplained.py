"""Changes of module and parameter paths that no changed fact of their component explains."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import product

from msgspec import Struct

from vlm_inspect.compare.paths import (
    ModuleChange,
    ParameterChange,
    PathDifference,
    added_or_removed,
    folded,
    is_inside,
    outermost,
)
from vlm_inspect.core.architecture import Component
from vlm_inspect.core.difference import Change, KindValue, PathChange, Value
from vlm_inspect.core.module_tree import ancestors, folded_path

Explained = Sequence[tuple[tuple[Component | None, Component | None], Sequence[Change]]]

# a change of one of these facts explains every changed path of the component
_EXPLAIN_ALL = ("class", "attention", "MLP", "MLP gated", "layer order", "steps", "component", "path")


class _Explanation(Struct, frozen=True):
    """What the changed facts of a component explain about the paths below it."""

    explains_all: bool
    classes: set[tuple[str, str]]
    """Class names before and after in a changed fact."""
    modules: set[str]
    """Names of modules that were added, removed or changed according to a fact."""


def unexplained_changes(paths: PathDifference, explained: Explained, *, is_other_model: bool) -> Iterator[PathChange]:
    """The changes of paths that the changed facts of each pair of components do not explain.

    With another class of the whole model, the modules around its components may have other classes, too.
    """
    explanations = _explanations(explained)

    def is_explained(change: ModuleChange | ParameterChange) -> bool:
        return any(_is_explained_at(end, change, explanations, paths.shared) for end in change.ends)

    around = {above for path in explanations for above in ancestors(path.rpartition(".")[0])}
    inside = [change for change in paths.modules if not is_other_model or around.isdisjoint(change.ends)]
    modules = [
        change
        for change in outermost(inside)
        if not is_explained(change) and not (is_other_model and change.is_changed)
    ]
    whole_modules = added_or_removed(modules)
    parameters = [
        change
        for change in paths.parameters
        if not is_explained(change) and not is_inside(change, whole_modules, change.path)
    ]
    yield from folded("module", modules)
    yield from folded("parameter", parameters)


def _explanations(explained: Explained) -> Mapping[str, _Explanation | None]:
    """The explanation for each path of a component; components with the same path are combined."""
    changes_at: dict[str, list[Change]] = defaultdict(list)
    for pair, changes in explained:
        for path in {path for component in pair if component for path in component.paths}:
            changes_at[path] += changes
    return {path: _explanation(changes) if changes else None for path, changes in changes_at.items()}


def _explanation(changes: Sequence[Change]) -> _Explanation:
    return _Explanation(
        explains_all=any(change.field.endswith(_EXPLAIN_ALL) for change in changes),
        classes={names for each in changes for names in product(_names(each.before), _names(each.after))},
        modules={name for change in changes for name in _changed_modules(change)},
    )


def _changed_modules(change: Change) -> set[str]:
    if change.field.startswith("module "):
        return {change.field.removeprefix("module ")}
    return set(_names(change.before)) ^ set(_names(change.after)) if change.field.endswith("norms") else set()


def _names(value: Value | None) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, tuple):
        return ()
    return tuple(name for each in value for name in _names(each.value if isinstance(each, KindValue) else each))


def _is_explained_at(
    path: str,
    change: ModuleChange | ParameterChange,
    explanations: Mapping[str, _Explanation | None],
    shared: frozenset[str],
) -> bool:
    owner = next((place for place in ancestors(path) if place in explanations), "")
    explanation = explanations.get(owner)
    if explanation is None:
        return False
    names = path.removeprefix(owner).split(".")
    if explanation.explains_all or not explanation.modules.isdisjoint(names):
        return True
    if not change.is_changed:  # another number of layers adds or removes only paths with a known pattern
        return folded_path(path) in shared
    return not isinstance(change.before, str) or (change.before, change.after) in explanation.classes
