"""Compare two snapshots: match their components, compare facts and module paths, and collect the changes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet

from msgspec.structs import replace

from vlm_inspect.compare.facts import GROUPS, Facts, component_facts, model_facts
from vlm_inspect.compare.paths import PathDifference, PathMap, compare_paths
from vlm_inspect.compare.unexplained import unexplained_changes
from vlm_inspect.core.architecture import Architecture, Component, Role
from vlm_inspect.core.difference import Change, ComponentPair, Difference, Incomparable, Move, PathChange
from vlm_inspect.core.module_tree import ModuleNode, NodePool, folded_path, is_below, join
from vlm_inspect.core.snapshot import Snapshot

Pair = tuple[Component | None, Component | None]
FactDifference = tuple[list[Change], list[Incomparable]]


def compare(before: Snapshot, after: Snapshot) -> Difference:
    """The structural difference of two models, whatever their sources, builders and versions of libraries."""
    old, new = before.architecture, after.architecture
    paths = _compare_trees(before, after)
    path_map = PathMap(paths.moves)
    pairs = _pairs(old, new, path_map)
    with_keys = "config" not in (old.builder, new.builder)
    old_facts, new_facts = (model_facts(model, with_ignored_keys=with_keys) for model in (old, new))
    changes, incomparable = _compare_facts(old_facts, new_facts, ())
    is_other_model = any(change.field == "model class" for change in changes)
    explained: list[tuple[Pair, list[Change]]] = []
    for index, pair in enumerate(pairs):
        found, unknown = _compare_components(pair, old, new)
        found = [*_path_change(pair, path_map), *found]
        explained.append((pair, found))
        changes += [replace(change, pairs=(index,)) for change in found]
        incomparable += [replace(fact, pairs=(index,)) for fact in unknown]
    incomparable += [*_unknown_roles(old, new, pairs), *_missing_trees(before, after), *_other_evidence(old, new)]
    remaining = tuple(unexplained_changes(paths, explained, is_other_model=is_other_model))
    changes += _unexplained_counts(pairs, changes, paths.moves, remaining)
    return Difference(
        before=old.model,
        after=new.model,
        total_before=old.parameters.total,
        total_after=new.parameters.total,
        uncertain_before=old.parameters.uncertain,
        uncertain_after=new.parameters.uncertain,
        pairs=tuple(_component_pair(one, other) for one, other in pairs),
        changes=tuple(_merge_shared(changes)),
        moves=paths.moves,
        paths=remaining,
        incomparable=tuple(incomparable),
        versions_before=old.versions,
        versions_after=new.versions,
    )


def _compare_trees(before: Snapshot, after: Snapshot) -> PathDifference:
    """Compare paths, without the contents of modules that could not be built in one of the models."""
    if before.modules is None or after.modules is None:
        return PathDifference()
    old, new = before.architecture, after.architecture
    hidden = {*_missing_paths(old, new), *_missing_paths(new, old)}
    trees, pool = (before.modules, after.modules), NodePool()
    first, second = (_emptied(tree, "", hidden, pool) for tree in trees) if hidden else trees
    return compare_paths(first, second, _roles(old), _roles(new))


def _roles(architecture: Architecture) -> dict[str, Role]:
    return {path: component.role for component in architecture.components for path in component.paths}


def _missing_paths(one: Architecture, other: Architecture) -> Iterator[str]:
    """The paths of missing modules, and of the components with the same role in the other model."""
    missing = one.missing_modules
    yield from missing
    roles = {component.role for component in one.components if _first_path(component) in missing}
    for component in other.components:
        if component.role in roles:
            yield from component.paths


def _emptied(node: ModuleNode, path: str, hidden: set[str], pool: NodePool) -> ModuleNode:
    """The tree with nothing inside the hidden modules but their classes, which are known."""
    if path in hidden:
        return pool.node(node.class_name)
    children = tuple((name, _emptied(child, join(path, name), hidden, pool)) for name, child in node.children)
    return pool.node(node.class_name, parameters=node.parameters, children=children)


def _missing_trees(before: Snapshot, after: Snapshot) -> Iterator[Incomparable]:
    """Module paths that are not compared because a tree is missing, and classes that have no names."""
    old, new = (
        each.architecture.parameters.unknown.get("total", "no module tree") if each.modules is None else None
        for each in (before, after)
    )
    unnamed = before.architecture.unnamed_modules, after.architecture.unnamed_modules
    if (old, new) != (None, None):
        yield Incomparable((), "module paths", old, new)
    elif unnamed != (None, None):
        yield Incomparable((), "module classes", *unnamed)


def _other_evidence(old: Architecture, new: Architecture) -> Iterator[Incomparable]:
    """The number of parameters, if a checkpoint that was not available decides one and not the other."""
    reasons = old.parameters.uncertain, new.parameters.uncertain
    if reasons[0] != reasons[1]:
        yield Incomparable((), "parameters", *reasons)


def _pairs(before: Architecture, after: Architecture, path_map: PathMap) -> list[Pair]:
    """Each component with its counterpart: at the same path, of the same class, or next with its role."""
    pairs: list[Pair] = []
    for role in Role:
        old, new = list(before.by_role(role)), list(after.by_role(role))
        for is_match in (
            # before moves: a tower with a new wrapper inside is still at the same path
            lambda a, b: _first_path(a) == _first_path(b),
            lambda a, b: _is_moved(a, b, path_map),
            lambda a, b: a.class_name == b.class_name,
            lambda a, b: a.role is b.role is not Role.OTHER,
        ):
            for one in list(old):
                match = next((other for other in new if is_match(one, other)), None)
                if match is not None:
                    pairs.append((one, match))
                    old.remove(one)
                    new.remove(match)
        pairs += [(one, None) for one in old] + [(None, one) for one in new]
    return pairs


def _is_moved(old: Component, new: Component, path_map: PathMap) -> bool:
    return bool(old.paths and new.paths) and path_map.is_same(old.paths[0], new.paths[0])


def _compare_components(pair: Pair, before: Architecture, after: Architecture) -> FactDifference:
    old, new = pair
    if old is not None and new is not None:
        return _compare_facts(component_facts(old), component_facts(new), (old.role,))
    present = old or new
    if present is None:
        return [], []
    # a component whose role is unknown in the other model may be there
    reason = (before if old is None else after).unknown.get(present.role.value)
    if reason is not None:
        sides = (reason, None) if old is None else (None, reason)
        return [], [Incomparable((present.role,), "component", *sides)]
    name = present.class_name or "unknown"
    return [Change((present.role,), "component", name if old else None, name if new else None)], []


def _path_change(pair: Pair, path_map: PathMap) -> Iterator[Change]:
    """The new path of a component that no move explains, because too much of it changed."""
    old, new = pair
    if old is None or new is None or not (old.paths and new.paths):
        return
    if old.paths[0] != new.paths[0] and not _is_moved(old, new, path_map):
        yield Change((old.role,), "path", old.paths[0], new.paths[0])


def _compare_facts(old: Facts, new: Facts, roles: tuple[Role, ...]) -> FactDifference:
    changes, incomparable = [], []
    for name in dict.fromkeys((*old.known, *old.unknown, *new.known, *new.unknown)):
        reasons = old.why_unknown(name), new.why_unknown(name)
        values = old.known.get(name), new.known.get(name)
        if reasons != (None, None):
            if name not in GROUPS or None not in reasons:
                incomparable.append(Incomparable(roles, name, *reasons))
        elif values[0] != values[1] and repr(values[0]) != repr(values[1]):  # NaN equals NaN
            changes.append(Change(roles, name, *values))
    return changes, incomparable


def _unknown_roles(old: Architecture, new: Architecture, pairs: Sequence[Pair]) -> Iterator[Incomparable]:
    """Roles that are unknown in a model and that no pair has."""
    paired = {component.role for pair in pairs for component in pair if component is not None}
    for role in Role:
        reasons = old.unknown.get(role.value), new.unknown.get(role.value)
        if reasons != (None, None) and role not in paired:
            yield Incomparable((role,), "component", *reasons)


def _unexplained_counts(
    pairs: Sequence[Pair], changes: Sequence[Change], moves: Sequence[Move], paths: Sequence[PathChange]
) -> Iterator[Change]:
    """Components with another number of parameters, if no change of a fact or path explains it."""
    changed = {index for change in changes for index in change.pairs}
    changed_paths = [end for change in paths for end in change.ends]
    changed_paths += [end for move in moves for end in (move.before, move.after)]
    for index, (old, new) in enumerate(pairs):
        if old is None or new is None or index in changed or None in (old.parameters, new.parameters):
            continue
        ends = [folded_path(path) for component in (old, new) for path in component.paths]
        is_explained = any(is_below(path, end) for path in changed_paths for end in ends)
        if old.parameters != new.parameters and not is_explained:
            yield Change((old.role,), "parameters", old.parameters, new.parameters, (index,))


def _merge_shared(changes: Sequence[Change]) -> Iterable[Change]:
    """Merge changes that components share: the vocabulary is a fact of the embedding and of the head."""
    merged: dict[tuple[object, ...], Change] = {}
    for index, change in enumerate(changes):
        key = (change.field, change.before, change.after, None if change.field == "vocabulary" else index)
        first = merged.get(key)
        if first is not None:
            roles = tuple(dict.fromkeys((*first.roles, *change.roles)))
            change = replace(first, roles=roles, pairs=(*first.pairs, *change.pairs))  # noqa: PLW2901
        merged[key] = change
    return merged.values()


def _component_pair(old: Component | None, new: Component | None) -> ComponentPair:
    names = ("parameters", "class_name", "layer_count")
    values = (getattr(component, name, None) for name in names for component in (old, new))
    return ComponentPair(getattr(old or new, "role", Role.OTHER), _first_path(old), _first_path(new), *values)


def _first_path(component: Component | None) -> str | None:
    return (component.paths[0] if component.paths else "") if component else None


def filter_roles(difference: Difference, roles: AbstractSet[Role]) -> Difference:
    """The difference of the components with these roles, without the totals of the whole model."""
    numbers = [index for index, pair in enumerate(difference.pairs) if pair.role in roles]
    new_index = {number: place for place, number in enumerate(numbers)}
    pairs = tuple(difference.pairs[number] for number in numbers)

    def renumber(indices: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(new_index[index] for index in indices if index in new_index)

    return replace(
        difference,
        total_before=None,
        total_after=None,
        uncertain_before=None,
        uncertain_after=None,
        pairs=pairs,
        changes=tuple(
            replace(change, pairs=renumber(change.pairs))
            for change in difference.changes
            if not roles.isdisjoint(change.roles)
        ),
        moves=tuple(move for move in difference.moves if _is_move_of(move, pairs, difference.pairs)),
        paths=tuple(
            change for change in difference.paths if any(_owner(end, difference.pairs) in pairs for end in change.ends)
        ),
        incomparable=tuple(
            replace(fact, pairs=renumber(fact.pairs))
            for fact in difference.incomparable
            if not roles.isdisjoint(fact.roles)
        ),
    )


def _is_move_of(move: Move, pairs: Collection[ComponentPair], every: Collection[ComponentPair]) -> bool:
    """Whether a move is inside one of the pairs, or contains one of them."""
    if _owner(move.before, every) in pairs or _owner(move.after, every) in pairs:
        return True
    return any(
        end is not None and is_below(folded_path(end), moved)
        for pair in pairs
        for end, moved in ((pair.before, move.before), (pair.after, move.after))
    )


def _owner(path: str, pairs: Collection[ComponentPair]) -> ComponentPair | None:
    """The innermost component around a path, in either model."""
    around = [
        (len(end), index, pair)
        for index, pair in enumerate(pairs)
        for end in (pair.before, pair.after)
        if end and is_below(path, folded_path(end))
    ]
    return max(around, key=lambda found: found[:2])[2] if around else None
