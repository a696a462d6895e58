"""What paths say beside the facts: changes that no changed fact of their component explains."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from vlm_inspect.compare.paths import (
    ModuleChange,
    ParameterChange,
    PathDifference,
    folded,
    gone,
    is_in,
    outermost,
)
from vlm_inspect.compare.patterns import ancestors
from vlm_inspect.core.architecture import Component
from vlm_inspect.core.difference import Change, PathChange, Value
from vlm_inspect.core.module_tree import folded_path

Explained = Sequence[tuple[tuple[Component | None, Component | None], Sequence[Change]]]

# a component of which one of these changed is another one: its modules and parameters are as it has them
_OF_ANOTHER_KIND = ("class", "attention", "MLP", "MLP gated", "layer order", "steps", "component", "path")


class _Reason(Struct, frozen=True):
    """What the changed facts of a component say of the paths below it."""

    is_another: bool
    classes: frozenset[tuple[str, str]]
    """Classes that a fact names before and after."""
    modules: frozenset[str]
    """Names of modules of which a fact says that they came, went or changed."""


def left_over(paths: PathDifference, explained: Explained, *, whole: bool) -> Iterator[PathChange]:
    """The changes of paths that say more than the components' changed facts do.

    Of `whole` other models the modules around the components are of other classes too, as is to be expected.
    """
    reasons = _reasons(explained)
    around = {above for path in reasons for above in ancestors(path.rpartition(".")[0])} if whole else set()
    modules = [
        change
        for change in outermost([change for change in paths.modules if around.isdisjoint(change.ends)])
        if not _says_why(change, reasons, paths.lasting) and not (whole and change.is_changed)
    ]
    whole_modules = gone(modules)
    parameters = [
        change
        for change in paths.parameters
        if not _says_why(change, reasons, paths.lasting) and not is_in(change, whole_modules, change.path)
    ]
    yield from folded("module", modules)
    yield from folded("parameter", parameters)


def _reasons(explained: Explained) -> Mapping[str, _Reason | None]:
    """What is known of each component's paths; where components meet, all that changed have their say."""
    told: dict[str, list[Change]] = defaultdict(list)
    for pair, changes in explained:
        for path in {path for component in pair if component for path in component.paths}:
            told[path] += changes
    return {path: _reason(changes) if changes else None for path, changes in told.items()}


def _reason(changes: Sequence[Change]) -> _Reason:
    return _Reason(
        is_another=any(change.field.endswith(_OF_ANOTHER_KIND) for change in changes),
        classes=frozenset(
            (before, after)
            for change in changes
            for before in _names(change.before)
            for after in _names(change.after)
        ),
        modules=frozenset(name for change in changes for name in _modules(change)),
    )


def _modules(change: Change) -> Iterator[str]:
    if change.field.startswith("module "):
        yield change.field.removeprefix("module ")
    elif change.field.endswith("norms"):
        yield from set(_names(change.before)) ^ set(_names(change.after))


def _names(value: Value | None) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return tuple(name for name in value if isinstance(name, str)) if isinstance(value, tuple) else ()


def _says_why(
    change: ModuleChange | ParameterChange, reasons: Mapping[str, _Reason | None], lasting: frozenset[str]
) -> bool:
    """Whether the facts of a component that one of its paths is of say why it changed."""
    return any(_says_why_at(end, change, reasons, lasting) for end in change.ends)


def _says_why_at(
    path: str,
    change: ModuleChange | ParameterChange,
    reasons: Mapping[str, _Reason | None],
    lasting: frozenset[str],
) -> bool:
    owner = next((place for place in ancestors(path) if place in reasons), "")
    reason = reasons.get(owner)
    if reason is None:
        return False
    if reason.is_another or not reason.modules.isdisjoint(path.removeprefix(owner).split(".")):
        return True
    if not change.is_changed:  # more layers have more of the same, and nothing else
        return folded_path(path) in lasting
    return not isinstance(change.before, str) or (change.before, change.after) in reason.classes
