"""The pipeline of this room: paths, components, facts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vlm_inspect.architecture import Architecture, Component, Role
from vlm_inspect.compare.facts import Facts, facts_of, model_facts
from vlm_inspect.compare.moves import apply_moves
from vlm_inspect.compare.paths import PathDifference, compare_paths, folded, outermost
from vlm_inspect.difference import Change, ComponentPair, Difference, Incomparable, Move, PathChange
from vlm_inspect.snapshot import Snapshot
from vlm_inspect.tree import is_below

Pair = tuple[Component | None, Component | None]


def compare(before: Snapshot, after: Snapshot) -> Difference:
    """What is not the same in two models. Where they came from and what built them is no part of it."""
    paths = _paths(before, after)
    pairs = _pairs(before.architecture, after.architecture, paths.moves)
    changes, incomparable = _compared(model_facts(before.architecture), model_facts(after.architecture), ())
    explained: list[str] = []
    for old, new in pairs:
        found, untold = _component(old, new)
        if found:
            explained += [path for component in (old, new) if component for path in component.paths]
        changes += found
        incomparable += untold
    whole = any(change.field == "model class" for change in changes)
    left = tuple(_left(paths, explained, whole=whole))
    changes += _unexplained(pairs, changes, paths.moves, left)
    return Difference(
        before=before.architecture.model,
        after=after.architecture.model,
        total_before=before.architecture.parameters.total,
        total_after=after.architecture.parameters.total,
        pairs=tuple(_shown(old, new) for old, new in pairs),
        changes=tuple(_merged(changes)),
        moves=paths.moves,
        paths=left,
        incomparable=tuple(incomparable),
        versions_before=before.architecture.versions,
        versions_after=after.architecture.versions,
    )


def _paths(before: Snapshot, after: Snapshot) -> PathDifference:
    if before.modules is None or after.modules is None:
        return PathDifference()
    return compare_paths(before.modules, after.modules)


def _pairs(before: Architecture, after: Architecture, moves: tuple[Move, ...]) -> list[Pair]:
    """Each component with its counterpart: at the same path, of the same class, or next of its role."""
    pairs: list[Pair] = []
    for role in Role:
        old, new = list(before.having(role)), list(after.having(role))
        for same in (
            lambda a, b: _path(a, moves) == _path(b, ()),
            lambda a, b: a.class_name == b.class_name,
            lambda a, b: a.role is b.role is not Role.OTHER,
        ):
            for one in list(old):
                match = next((other for other in new if same(one, other)), None)
                if match is not None:
                    pairs.append((one, match))
                    old.remove(one)
                    new.remove(match)
        pairs += [(one, None) for one in old] + [(None, one) for one in new]
    return pairs


def _path(component: Component, moves: tuple[Move, ...]) -> str:
    return apply_moves(component.paths[0], moves) if component.paths else ""


def _component(old: Component | None, new: Component | None) -> tuple[list[Change], list[Incomparable]]:
    if old is None or new is None:
        present = old or new
        if present is None:
            return [], []
        name = present.class_name or "unknown"
        return [Change((present.role,), "component", name if old else None, name if new else None)], []
    return _compared(facts_of(old), facts_of(new), (old.role,))


def _compared(old: Facts, new: Facts, roles: tuple[Role, ...]) -> tuple[list[Change], list[Incomparable]]:
    changes, incomparable = [], []
    for name in dict.fromkeys((*old.known, *old.unknown, *new.known, *new.unknown)):
        if name in old.unknown or name in new.unknown:
            incomparable.append(Incomparable(roles, name, old.unknown.get(name), new.unknown.get(name)))
        elif old.known.get(name) != new.known.get(name):
            changes.append(Change(roles, name, old.known.get(name), new.known.get(name)))
    return changes, incomparable


def _left(paths: PathDifference, explained: Sequence[str], *, whole: bool) -> Iterator[PathChange]:
    """Changes of paths outside the components whose facts changed: inside, those say why.

    Of `whole` other models the modules around the components are of other classes too, as is to be expected.
    """
    modules = [
        change
        for change in outermost(paths.modules)
        if not _in_any(change[0], explained) and not (whole and None not in change)
    ]
    gone = {path for path, before, after in modules if before is None or after is None}
    parameters = [
        change
        for change in paths.parameters
        if not _in_any(change[0], explained) and not _in_any(change[0], gone)
    ]
    yield from folded("module", modules)
    yield from folded("parameter", parameters)


def _in_any(path: str, ancestors: Sequence[str] | set[str]) -> bool:
    return any(is_below(path, ancestor) for ancestor in ancestors)


def _unexplained(
    pairs: list[Pair], changes: list[Change], moves: tuple[Move, ...], left: tuple[PathChange, ...]
) -> Iterator[Change]:
    """Components whose parameters differ though no fact of theirs does, and no path says why."""
    told = {role for change in changes for role in change.roles}
    for old, new in pairs:
        if old is None or new is None or old.role in told or old.parameters == new.parameters:
            continue
        if None not in (old.parameters, new.parameters) and not (left or moves):
            yield Change((old.role,), "parameters", old.parameters, new.parameters)


def _merged(changes: Sequence[Change]) -> Iterator[Change]:
    """One change where several components share it: a vocabulary is the embedding's and the head's."""
    roles: dict[tuple[object, ...], list[Role]] = {}
    kept: dict[tuple[object, ...], Change] = {}
    for index, change in enumerate(changes):
        shared = change.field == "vocabulary"
        key: tuple[object, ...] = (change.field, change.before, change.after, None if shared else index)
        kept.setdefault(key, change)
        roles.setdefault(key, []).extend(change.roles)
    for key, change in kept.items():
        yield Change(tuple(dict.fromkeys(roles[key])), change.field, change.before, change.after)


def _shown(old: Component | None, new: Component | None) -> ComponentPair:
    role = old.role if old else new.role if new else Role.OTHER
    return ComponentPair(
        role,
        _first(old),
        _first(new),
        old.parameters if old else None,
        new.parameters if new else None,
    )


def _first(component: Component | None) -> str | None:
    return (component.paths[0] if component.paths else "") if component else None
