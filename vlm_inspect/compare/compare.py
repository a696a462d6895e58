"""The pipeline of this room: paths, components, facts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from collections.abc import Set as AbstractSet

from msgspec.structs import replace

from vlm_inspect.compare.facts import GROUPS, Facts, facts_of, model_facts
from vlm_inspect.compare.paths import PathDifference, Places, compare_paths
from vlm_inspect.compare.remaining import left_over
from vlm_inspect.core.architecture import Architecture, Component, Role
from vlm_inspect.core.difference import (
    Change,
    ComponentPair,
    Difference,
    Incomparable,
    Move,
    PathChange,
    Value,
)
from vlm_inspect.core.module_tree import ModuleNode, NodePool, folded_path, is_below, join
from vlm_inspect.core.snapshot import Snapshot


def seen_alike(
    before: tuple[Architecture, ModuleNode], after: tuple[Architecture, ModuleNode]
) -> tuple[ModuleNode, ModuleNode]:
    """Both trees without the insides of what was not built in one of them."""
    hidden = {*_hidden(before[0], after[0]), *_hidden(after[0], before[0])}
    if not hidden:
        return before[1], after[1]
    pool = NodePool()
    return _without(before[1], "", hidden, pool), _without(after[1], "", hidden, pool)


def _hidden(one: Architecture, other: Architecture) -> Iterator[str]:
    """The places of what was not built, and of what stands for it in the other model."""
    unbuilt = one.missing_modules
    yield from unbuilt
    roles = {
        component.role
        for component in one.components
        if component.paths[:1] and component.paths[0] in unbuilt
    }
    for component in other.components:
        if component.role in roles:
            yield from component.paths


def _without(node: ModuleNode, path: str, hidden: set[str], pool: NodePool) -> ModuleNode:
    """The tree with nothing inside these modules. Their class stays: it is known."""
    if path in hidden:
        return pool.node(node.class_name)
    children = tuple((name, _without(child, join(path, name), hidden, pool)) for name, child in node.children)
    return pool.node(node.class_name, parameters=node.parameters, children=children)


Pair = tuple[Component | None, Component | None]
Compared = tuple[list[Change], list[Incomparable]]


def compare(before: Snapshot, after: Snapshot) -> Difference:
    """What is not the same in two models. Where they came from and what built them is no part of it."""
    old, new = before.architecture, after.architecture
    paths = _paths(before, after)
    places = Places(paths.moves)
    pairs = _pairs(old, new, places)
    read = "config" not in (old.builder, new.builder)
    changes, incomparable = _compared(model_facts(old, read=read), model_facts(new, read=read), ())
    whole = any(change.field == "model class" for change in changes)
    explained: list[tuple[Pair, list[Change]]] = []
    for index, pair in enumerate(pairs):
        found, untold = _component(pair, old, new)
        found = [*_relocated(pair, places), *found]
        explained.append((pair, found))
        changes += [replace(change, pairs=(index,)) for change in found]
        incomparable += [replace(fact, pairs=(index,)) for fact in untold]
    incomparable += [*_unknown_roles(old, new, pairs), *_unseen(before, after)]
    left = tuple(left_over(paths, explained, whole=whole))
    changes += _unexplained(pairs, changes, paths.moves, left)
    return Difference(
        before=old.model,
        after=new.model,
        total_before=old.parameters.total,
        total_after=new.parameters.total,
        pairs=tuple(_shown(one, other) for one, other in pairs),
        changes=tuple(_merged(changes)),
        moves=paths.moves,
        paths=left,
        incomparable=tuple(incomparable),
        versions_before=old.versions,
        versions_after=new.versions,
    )


def _paths(before: Snapshot, after: Snapshot) -> PathDifference:
    if before.modules is None or after.modules is None:
        return PathDifference()
    old, new = seen_alike((before.architecture, before.modules), (after.architecture, after.modules))
    return compare_paths(old, new)


def _pairs(before: Architecture, after: Architecture, places: Places) -> list[Pair]:
    """Each component with its counterpart: at the same path, of the same class, or next of its role."""
    pairs: list[Pair] = []
    for role in Role:
        old, new = list(before.by_role(role)), list(after.by_role(role))
        for same in (
            # before what moved: a tower that got a wrapper inside is still where it was
            lambda a, b: _first(a) == _first(b),
            lambda a, b: _moved(a, b, places),
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


def _moved(old: Component, new: Component, places: Places) -> bool:
    return bool(old.paths and new.paths) and places.are_one(old.paths[0], new.paths[0])


def _component(pair: Pair, before: Architecture, after: Architecture) -> Compared:
    old, new = pair
    if old is not None and new is not None:
        return _compared(facts_of(old), facts_of(new), (old.role,))
    present = old or new
    if present is None:
        return [], []
    # where the role could not be told, nobody knows whether the component is there
    unknown = (before if old is None else after).unknown.get(present.role.value)
    name = present.class_name or "unknown"
    if unknown is not None:
        return [], [_one_sided((present.role,), "component", unknown, is_before=old is None)]
    return [Change((present.role,), "component", name if old else None, name if new else None)], []


def _relocated(pair: Pair, places: Places) -> Iterator[Change]:
    """That a component is at another path, where no move says so: too much of it changed on the way."""
    old, new = pair
    if old is None or new is None or not (old.paths and new.paths):
        return
    if old.paths[0] != new.paths[0] and not _moved(old, new, places):
        yield Change((old.role,), "path", old.paths[0], new.paths[0])


def _one_sided(roles: tuple[Role, ...], field: str, reason: str, *, is_before: bool) -> Incomparable:
    return Incomparable(roles, field, reason if is_before else None, None if is_before else reason)


def _compared(old: Facts, new: Facts, roles: tuple[Role, ...]) -> Compared:
    changes, incomparable = [], []
    for name in dict.fromkeys((*old.known, *old.unknown, *new.known, *new.unknown)):
        reasons = old.why_unknown(name), new.why_unknown(name)
        if reasons != (None, None):
            if name not in GROUPS or None not in reasons:
                incomparable.append(Incomparable(roles, name, *reasons))
        elif not _are_equal(old.known.get(name), new.known.get(name)):
            changes.append(Change(roles, name, old.known.get(name), new.known.get(name)))
    return changes, incomparable


def _are_equal(before: Value | None, after: Value | None) -> bool:
    """Equal, or both not a number: an eps that is none is the same eps twice."""
    return before == after or repr(before) == repr(after)


def _unknown_roles(old: Architecture, new: Architecture, pairs: Sequence[Pair]) -> Iterator[Incomparable]:
    """Roles that could not be told in either model; what is known in one of them has a pair."""
    paired = {component.role for pair in pairs for component in pair if component is not None}
    for role in Role:
        reasons = old.unknown.get(role.value), new.unknown.get(role.value)
        if reasons != (None, None) and role not in paired:
            yield Incomparable((role,), "component", *reasons)


def _unseen(before: Snapshot, after: Snapshot) -> Iterator[Incomparable]:
    """The paths, where there is no tree to take them from."""
    reasons = _why_no_tree(before), _why_no_tree(after)
    if reasons != (None, None):
        yield Incomparable((), "module paths", *reasons)
        return
    nameless = before.architecture.unnamed_modules, after.architecture.unnamed_modules
    if nameless != (None, None):
        yield Incomparable((), "module classes", *nameless)


def _why_no_tree(snapshot: Snapshot) -> str | None:
    if snapshot.modules is not None:
        return None
    return snapshot.architecture.parameters.unknown.get("total", "no module tree")


def _unexplained(
    pairs: Sequence[Pair], changes: Sequence[Change], moves: Sequence[Move], left: Sequence[PathChange]
) -> Iterator[Change]:
    """Components whose parameters differ though no fact of theirs does, and no path of theirs says why."""
    told = {index for change in changes for index in change.pairs}
    touched = [end for change in left for end in change.ends]
    touched += [end for move in moves for end in (move.before, move.after)]
    for index, (old, new) in enumerate(pairs):
        if old is None or new is None or index in told or None in (old.parameters, new.parameters):
            continue
        ends = [folded_path(path) for component in (old, new) for path in component.paths]
        is_told = any(is_below(path, end) for path in touched for end in ends)
        if old.parameters != new.parameters and not is_told:
            yield Change((old.role,), "parameters", old.parameters, new.parameters, (index,))


def _merged(changes: Sequence[Change]) -> Iterator[Change]:
    """One change where several components share it: a vocabulary is the embedding's and the head's."""
    merged: dict[tuple[object, ...], Change] = {}
    for index, change in enumerate(changes):
        shared = change.field == "vocabulary"
        key = (change.field, change.before, change.after, None if shared else index)
        known = merged.get(key)
        if known is None:
            merged[key] = change
        else:
            roles = tuple(dict.fromkeys((*known.roles, *change.roles)))
            merged[key] = replace(known, roles=roles, pairs=(*known.pairs, *change.pairs))
    yield from merged.values()


def _shown(old: Component | None, new: Component | None) -> ComponentPair:
    role = old.role if old else new.role if new else Role.OTHER
    return ComponentPair(
        role,
        _first(old),
        _first(new),
        old.parameters if old else None,
        new.parameters if new else None,
        old.class_name if old else None,
        new.class_name if new else None,
        old.layer_count if old else None,
        new.layer_count if new else None,
    )


def _first(component: Component | None) -> str | None:
    return (component.paths[0] if component.paths else "") if component else None


def of_roles(difference: Difference, roles: AbstractSet[Role]) -> Difference:
    """What differs of these roles. The totals are the whole model's, and are left out."""
    numbers = [index for index, pair in enumerate(difference.pairs) if pair.role in roles]
    places = {number: place for place, number in enumerate(numbers)}
    pairs = tuple(difference.pairs[number] for number in numbers)

    def kept(indices: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(places[index] for index in indices if index in places)

    return replace(
        difference,
        total_before=None,
        total_after=None,
        pairs=pairs,
        changes=tuple(
            replace(change, pairs=kept(change.pairs))
            for change in difference.changes
            if not roles.isdisjoint(change.roles)
        ),
        moves=tuple(move for move in difference.moves if _is_move_of(move, pairs, difference.pairs)),
        paths=tuple(
            change
            for change in difference.paths
            if any(_owner(end, difference.pairs) in pairs for end in change.ends)
        ),
        incomparable=tuple(
            replace(fact, pairs=kept(fact.pairs))
            for fact in difference.incomparable
            if not roles.isdisjoint(fact.roles)
        ),
    )


def _is_move_of(move: Move, pairs: Collection[ComponentPair], every: Collection[ComponentPair]) -> bool:
    """Whether a move is of one of the pairs, or takes one of them along."""
    if _owner(move.before, every) in pairs or _owner(move.after, every) in pairs:
        return True
    return any(
        end is not None and is_below(folded_path(end), moved)
        for pair in pairs
        for end, moved in ((pair.before, move.before), (pair.after, move.after))
    )


def _owner(path: str, pairs: Collection[ComponentPair]) -> ComponentPair | None:
    """The component that a path is of: the innermost, on whichever side."""
    around = [
        (len(end), index, pair)
        for index, pair in enumerate(pairs)
        for end in (pair.before, pair.after)
        if end and is_below(path, folded_path(end))
    ]
    return max(around, key=lambda found: found[:2])[2] if around else None
