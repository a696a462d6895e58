"""What paths say beside the facts: changes that no changed fact of their component explains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from vlm_inspect.architecture import Component
from vlm_inspect.compare.paths import (
    ModuleChange,
    ParameterChange,
    PathDifference,
    folded,
    gone,
    is_in,
    outermost,
)
from vlm_inspect.compare.patterns import ancestors, folded_path
from vlm_inspect.difference import Change, PathChange, Value

Explained = Sequence[tuple[tuple[Component | None, Component | None], Sequence[Change]]]

# a component of which one of these changed is another one: its modules and parameters are as it has them
_OF_ANOTHER_KIND = ("class", "attention", "MLP", "MLP gated", "layer order", "steps", "component", "path")


@dataclass(frozen=True, slots=True)
class _Reason:
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
    reasons = dict(_reasons(explained))
    lasting = paths.lasting
    around = {above for path in reasons for above in ancestors(path.rpartition(".")[0])} if whole else set()
    modules = [
        change
        for change in outermost([change for change in paths.modules if change[0] not in around])
        if not _says_why(change, reasons, lasting) and not (whole and None not in change)
    ]
    whole_modules = gone(modules)
    parameters = [
        change
        for change in paths.parameters
        if not _says_why(change, reasons, lasting) and not is_in(change, whole_modules, change[0])
    ]
    yield from folded("module", modules)
    yield from folded("parameter", parameters)


def _reasons(explained: Explained) -> Iterator[tuple[str, _Reason | None]]:
    """What is known of each component's paths; where two meet, the one that changed has its say."""
    for pair, changes in sorted(explained, key=lambda told: bool(told[1])):
        reason = _reason(changes) if changes else None
        yield from ((path, reason) for component in pair if component for path in component.paths)


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
    """Whether the facts of the component that a path is of say why it changed."""
    path, before, after = change
    owner = next((place for place in ancestors(path) if place in reasons), "")
    reason = reasons.get(owner)
    if reason is None:
        return False
    if reason.is_another or not reason.modules.isdisjoint(path.removeprefix(owner).split(".")):
        return True
    if before is None or after is None:  # more layers have more of the same, and nothing else
        return folded_path(path) in lasting
    return not isinstance(before, str) or (before, after) in reason.classes
