"""What proves a rename, apart from equal shapes: names, classes and the order of modules.

A module moved if most names in it stayed and it is at a corresponding place: its parent stayed or moved, too, it is a
whole component, or it has the same class. A module without inner names, such as a norm, needs a parent that stayed or
moved, its own class, and the same position among the modules like it. Everything else was replaced.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from vlm_inspect.core.architecture import Role
from vlm_inspect.core.module_tree import UNKNOWN_CLASS, ModuleNode, Numbers, Pattern, Shape, ancestors, prefixes, split

Content = tuple[Shape, Role | None]
"""The shape of a parameter and the role of its component: a rename changes neither."""
Pair = tuple[Pattern, Pattern]

_FEWEST_NAMES = 2


class Rule(Struct, frozen=True):
    """A possible rename of one prefix to another."""

    before: Pattern
    after: Pattern

    @property
    def is_inside(self) -> bool:
        """Whether one end contains the other: `a.b` → `a`."""
        return all(one == other for one, other in zip(self.before, self.after, strict=False))

    @property
    def keeps_name(self) -> bool:
        """Whether both ends have the same last name."""
        return self.before[-1:] == self.after[-1:] != ("*",)


class Module(Struct, frozen=True):
    """The modules at one pattern."""

    classes: frozenset[str]
    names: tuple[str, ...]
    """Their parameters and children, in order."""
    has_children: bool

    def has_class_of(self, other: Module) -> bool | None:
        """Whether both have the same classes; None if one is unknown."""
        if UNKNOWN_CLASS in self.classes | other.classes:
            return None
        return self.classes == other.classes

    def is_like(self, other: Module) -> bool:
        """Whether both have the same class, or share at least half of their names."""
        shared = len({*self.names} & {*other.names})
        return bool(self.has_class_of(other)) or 2 * shared >= max(len(self.names), len(other.names))


def modules_by_pattern(root: ModuleNode) -> dict[Pattern, Module]:
    """The modules of a tree by pattern; those of all layers together."""
    nodes: dict[Pattern, dict[ModuleNode, None]] = defaultdict(dict)
    for path, node in root.walk():
        nodes[_pattern(path)][node] = None
    return {pattern: _module(list(found)) for pattern, found in nodes.items()}


def _module(nodes: Sequence[ModuleNode]) -> Module:
    classes = frozenset(UNKNOWN_CLASS if node.inferred else node.class_name for node in nodes)
    names = dict.fromkeys(name for node in nodes for name, _ in (*node.parameters, *node.children))
    return Module(
        classes, tuple(dict.fromkeys(map(_folded, names))), has_children=any(node.children for node in nodes)
    )


def _pattern(path: str) -> Pattern:
    return split(path)[0] if path else ()


def _folded(name: str) -> str:
    return "*" if name.isdigit() else name


class Side:
    """The paths of one tree that no move covers yet, by pattern.

    Args:
        paths: The paths that only this tree has, with their shapes.
        unchanged: The paths that both trees have.
        modules: The modules of this tree.
        roles: The roles of the model's components by path.

    """

    def __init__(
        self,
        paths: Mapping[str, Shape],
        unchanged: Collection[str] = (),
        modules: Mapping[Pattern, Module] | None = None,
        roles: Mapping[str, Role] | None = None,
    ) -> None:
        self.modules, roles = modules or {}, roles or {}
        self.groups: dict[Pattern, dict[Numbers, Content]] = defaultdict(dict)
        for path, shape in paths.items():
            pattern, numbers = split(path)
            self.groups[pattern][numbers] = shape, role_at(path, roles)
        self.contents = {pattern: tuple(sorted(group.items())) for pattern, group in self.groups.items()}
        """The numbers, shapes and roles of each pattern."""
        self.order = {pattern: index for index, pattern in enumerate(self.groups)}
        self.component_roles: dict[Pattern, set[Role]] = defaultdict(set)
        for path, role in roles.items():
            self.component_roles[_pattern(path)].add(role)
        patterns = {split(path)[0] for path in unchanged}
        self.unchanged = {prefix for pattern in patterns for prefix in prefixes(pattern)}
        """The prefixes of unchanged paths."""
        self.below: dict[Pattern, int] = defaultdict(int)
        """The number of paths at or below each prefix."""
        self._patterns_below: dict[Pattern, list[Pattern]] = defaultdict(list)
        for pattern, group in self.groups.items():
            for prefix in prefixes(pattern):
                self.below[prefix] += len(group)
                self._patterns_below[prefix].append(pattern)
        self._positions: dict[object, dict[Pattern, object]] = {}

    def size(self, pattern: Pattern) -> int:
        """The number of paths with one pattern."""
        return len(self.groups[pattern])

    def groups_below(self, end: Pattern) -> Iterator[tuple[Pattern, Mapping[Numbers, Content]]]:
        """The patterns at or below an end with their paths, without those that a move covers."""
        return ((each, self.groups[each]) for each in self._patterns_below.get(end, ()) if each in self.groups)

    def remove(self, pattern: Pattern) -> None:
        """Remove the paths with a pattern, because a move covers them."""
        for prefix in prefixes(pattern):
            self.below[prefix] -= self.size(pattern)
        del self.groups[pattern]

    def position(self, end: Pattern, other: Side) -> object:
        """The index of a module or parameter among those of its parent that are like it, and their number.

        A module that the other tree has at the same path does not count: it stayed.
        """
        return self._position(end, end[:-1], lambda: self._changed_children(end[:-1], other))

    def position_of_name(self, end: Pattern) -> object:
        """The index of a module or parameter among those of its name that are like it, and their number."""
        return self._position(end, end[-1], lambda: [each for each in self._patterns_below if each[-1:] == end[-1:]])

    def _position(self, end: Pattern, group: object, ends: Callable[[], list[Pattern]]) -> object:
        if group not in self._positions:
            self._positions[group] = dict(_positions(ends(), self._signature))
        return self._positions[group].get(end)

    def _changed_children(self, parent: Pattern, other: Side) -> list[Pattern]:
        module = self.modules.get(parent)
        children = ((*parent, name) for name in (module.names if module else ()))
        changed = [child for child in children if child in self._patterns_below and child not in self.unchanged]
        return [child for child in changed if child not in other.modules]

    def _signature(self, end: Pattern) -> object:
        module = self.modules.get(end)
        below = frozenset((each[len(end) :], self.contents[each]) for each in self._patterns_below[end])
        return module.classes if module else None, below


def _positions(ends: Iterable[Pattern], signature: Callable[[Pattern], object]) -> Iterable[tuple[Pattern, object]]:
    alike: dict[object, list[Pattern]] = defaultdict(list)
    for end in ends:
        alike[signature(end)].append(end)
    for group in alike.values():
        yield from ((end, (index, len(group))) for index, end in enumerate(group))


def role_at(path: str, roles: Mapping[str, Role]) -> Role | None:
    """The role of the innermost component around a path; None if there is none."""
    return next((roles[above] for above in (*ancestors(path), "") if above in roles), None)


class Evidence:
    """Decides whether names, classes and order prove a rename between two trees."""

    def __init__(self, before: Side, after: Side) -> None:
        self.before, self.after = before, after
        self._moved: dict[Pattern, Pattern] = {}
        """The moves so far: what is below them has moved, too."""
        self._moved_parents: set[Pair] = set()
        """The parents of modules that moved under their name: the siblings of those have moved, too."""

    def add(self, move: Rule) -> None:
        """Count a move as evidence for those of its siblings and descendants."""
        self._moved[move.before] = move.after
        if move.keeps_name:
            self._moved_parents.add((move.before[:-1], move.after[:-1]))

    def proves(self, rule: Rule, pairs: Sequence[Pair]) -> bool:
        """Whether a rename is proved, and not only suggested by the shapes."""
        if not rule.is_inside and (self._is_taken(rule) or self._is_ambiguous(rule)):
            return False
        inner_names = {name for old, _ in pairs for name in old[len(rule.before) : -1] if name != "*"}
        if inner_names:
            return self._has_place(rule, len(inner_names)) and self._covers_half(rule, pairs, len(inner_names))
        return self._is_equal(rule, pairs) and (rule.is_inside or self._is_same_leaf(rule))

    def keeps_owner(self, pair: Pair) -> bool:
        """Whether the modules of two parameters have the same class."""
        return bool(self._keeps_class(Rule(pair[0][:-1], pair[1][:-1])))

    def _is_taken(self, rule: Rule) -> bool:
        """Whether a part of the old end is still there, or of the new end was there before."""
        return rule.before in self.before.unchanged or rule.after in self.after.unchanged

    def _is_ambiguous(self, rule: Rule) -> bool:
        """Whether other modules are like one of the ends, and their number or order is another."""
        if rule.keeps_name and self._has_corresponding_parents(rule):
            return False
        places = self._positions(rule)
        return None not in places and places[0] != places[1]

    def _positions(self, rule: Rule) -> tuple[object, object]:
        if rule.keeps_name:
            return self.before.position_of_name(rule.before), self.after.position_of_name(rule.after)
        return self.before.position(rule.before, self.after), self.after.position(rule.after, self.before)

    def _has_place(self, rule: Rule, inner_names: int) -> bool:
        """Whether both ends are at corresponding places: a whole module moves elsewhere with its class."""
        if rule.is_inside or self._is_component(rule) or self._has_corresponding_parents(rule):
            return True
        has_class = self._keeps_class(rule)
        return inner_names >= _FEWEST_NAMES if has_class is None else has_class

    def _covers_half(self, rule: Rule, pairs: Sequence[Pair], inner_names: int) -> bool:
        """Whether the rename explains at least half of the paths at both ends.

        A module that keeps its role, name or class may have other shapes inside.
        """
        is_same = self._is_component(rule) or rule.keeps_name or self._keeps_class(rule)
        by_name = inner_names >= _FEWEST_NAMES and is_same
        covered = 2 * (self._named_alike(rule) if by_name else sum(self.before.size(old) for old, _ in pairs))
        return covered >= self.before.below[rule.before] and covered >= self.after.below[rule.after]

    def _named_alike(self, rule: Rule) -> int:
        """The number of paths below the old end that have a counterpart below the new end."""
        counterparts = (
            (group, self.after.groups.get((*rule.after, *pattern[len(rule.before) :]), {}))
            for pattern, group in self.before.groups_below(rule.before)
        )
        return sum(len(group.keys() & other.keys()) for group, other in counterparts)

    def _is_equal(self, rule: Rule, pairs: Sequence[Pair]) -> bool:
        """Whether both ends have the same parameters; of a wrapper, whether it has no others."""
        covered = sum(self.before.size(old) for old, _ in pairs)
        outer = min(rule.before, rule.after, key=len)
        before, after = (outer, outer) if rule.is_inside else (rule.before, rule.after)
        return covered == self.before.below[before] == self.after.below[after]

    def _is_same_leaf(self, rule: Rule) -> bool:
        has_class, has_parents = self._keeps_class(rule), self._has_corresponding_parents(rule)
        if rule.keeps_name:
            return has_parents or self._is_component(rule) or (has_class is not False and self._is_hoisted(rule))
        if has_parents and has_class is not False:
            return None not in self._positions(rule)
        return bool(has_class) and self._is_component(rule)

    def _is_hoisted(self, rule: Rule) -> bool:
        """Whether one of the parents contains the other, and the name is not that of a leaf's weight."""
        owners = self.before.modules.get(rule.before[:-1]), self.after.modules.get(rule.after[:-1])
        is_named = rule.before in self.before.modules or all(owner and owner.has_children for owner in owners)
        return is_named and Rule(rule.before[:-1], rule.after[:-1]).is_inside

    def _is_component(self, rule: Rule) -> bool:
        """Whether both ends are components with the same role."""
        roles = self.before.component_roles.get(rule.before, set())
        return not roles.isdisjoint(self.after.component_roles.get(rule.after, ()))

    def _keeps_class(self, rule: Rule) -> bool | None:
        """Whether both ends have the same class; None if it is unknown, and for parameters."""
        old, new = self.before.modules.get(rule.before), self.after.modules.get(rule.after)
        return old.has_class_of(new) if old and new else None

    def _has_corresponding_parents(self, rule: Rule) -> bool:
        if not (rule.before and rule.after):
            return False
        old, new = rule.before[:-1], rule.after[:-1]
        if new not in (old, self._new_pattern(old)) and (old, new) not in self._moved_parents:
            return False
        before, after = self.before.modules.get(old), self.after.modules.get(new)
        return before is not None and after is not None and before.is_like(after)

    def _new_pattern(self, pattern: Pattern) -> Pattern:
        for length in range(len(pattern), -1, -1):
            if (target := self._moved.get(pattern[:length])) is not None:
                return (*target, *pattern[length:])
        return pattern
