"""The mismatches of a report: tensors grouped into modules and layers, and renamed prefixes of keys."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import takewhile

from msgspec import Struct

from vlm_inspect.core.architecture import Component
from vlm_inspect.core.load_report import KeyRenaming, Kind, Mismatch
from vlm_inspect.core.module_tree import Numbers, Pattern, Shape, folded_path, is_below, numbered, split, text

EMPTY = "empty in the checkpoint"
"""The reason of a tensor that is stored without values."""
# shorter prefixes do not determine a key: everything is below `model`
_SHORTEST_PREFIX = 2
_MATRIX = 2
"""Dimensions of the weight of one expert."""


class TensorMismatch(Struct, frozen=True):
    """One tensor that does not load."""

    kind: Kind
    path: str = ""
    key: str = ""
    expected: Shape | None = None
    stored: Shape | None = None
    reason: str = ""
    is_part: bool = False
    """Whether it is only a part of what is merged into the path."""

    @property
    def name(self) -> str:
        """The key of an unexpected tensor, the path of any other."""
        return self.key if self.kind == "unexpected" else self.path

    @property
    def is_empty(self) -> bool:
        """Whether the checkpoint has the tensor without its values."""
        return self.reason == EMPTY

    @property
    def is_single(self) -> bool:
        """Whether nothing follows for its module: its shape is wrong, or a part that is merged into it is lost."""
        return self.is_part or (self.kind == "mismatched" and not self.is_empty)

    @property
    def parameters(self) -> int | None:
        """Number of parameters; None if the shape is not known."""
        shape = self.expected if self.kind == "missing" or self.is_empty else self.stored or self.expected
        return math.prod(shape) if shape is not None else None


class _Row(Struct, frozen=True):
    """A tensor in the report: under its own name, or that of a module that does not load at all."""

    tensor: TensorMismatch
    component: Component | None
    name: str
    other_name: str
    """The key of a path, or the path of a key; empty if there is none."""

    @property
    def is_module(self) -> bool:
        return self.name != self.tensor.name

    def group_key(self) -> tuple[object, ...]:
        tensor = self.tensor
        shapes = () if self.is_module else (tensor.expected, tensor.stored)
        names = folded_path(self.name), folded_path(self.other_name), self.is_module
        return (tensor.kind, *names, tensor.reason, shapes, id(self.component))


def group_mismatches(
    tensors: Sequence[TensorMismatch], loaded: Collection[str], components: Sequence[Component]
) -> tuple[Mismatch, ...]:
    """Group tensors of one kind: whole modules as one, and the same tensor of several layers as one.

    `loaded` has the names (paths, or keys where `tensors` are unexpected ones) of tensors that do load.
    """
    loaded_modules = {module for name in loaded for module in _ancestors(name)}
    owners = {tensor: owning_component(tensor.path, components) for tensor in tensors}
    roots = {tensor: _unloaded_root(tensor, loaded_modules, owners[tensor]) for tensor in tensors}
    sizes = Counter(roots.values())
    groups: dict[tuple[object, ...], list[_Row]] = defaultdict(list)
    for tensor in tensors:
        root = roots[tensor]
        name = root if sizes[root] > 1 else tensor.name
        suffix = tensor.name[len(name) :]
        other_name = tensor.path if tensor.kind == "unexpected" else tensor.key
        other_name = other_name.removesuffix(suffix) if other_name.endswith(suffix) else ""
        row = _Row(tensor, owners[tensor], name, other_name)
        groups[row.group_key()].append(row)
    return tuple(map(_mismatch, groups.values()))


def owning_component(path: str, components: Iterable[Component]) -> Component | None:
    """Return the innermost component that contains a path."""
    roots = [(len(root), each) for each in components for root in each.paths if path and is_below(path, root)]
    return max(roots, key=lambda root: root[0], default=(0, None))[1]


def _unloaded_root(tensor: TensorMismatch, loaded_modules: set[str], component: Component | None) -> str:
    """The outermost module of a tensor, inside of its component, of which nothing loads.

    Nothing follows for the module from a wrong shape, or from a lost part of a merged tensor.
    """
    if tensor.is_single:
        return tensor.name
    paths = component.paths if component else ()
    root = max((path for path in paths if is_below(tensor.path, path)), key=len, default=None)
    inside = tensor.path.count(".") - root.count(".") if root is not None else tensor.name.count(".")
    modules = [*_ancestors(tensor.name)][-inside:] if inside else []
    return next((above for above in modules if above not in loaded_modules), tensor.name)


def _ancestors(name: str) -> Iterator[str]:
    """The modules that contain a tensor, outermost first."""
    parts = name.split(".")
    return (".".join(parts[:length]) for length in range(1, len(parts)))


def _mismatch(rows: Sequence[_Row]) -> Mismatch:
    first = rows[0]
    tensor, component = first.tensor, first.component
    name = _common_name([row.name for row in rows])
    other_name = _common_name([row.other_name for row in rows])
    counts = [row.tensor.parameters for row in rows]
    by_key = tensor.kind == "unexpected"
    return Mismatch(
        kind=tensor.kind,
        path=other_name if by_key else name,
        key=name if by_key else other_name,
        count=len(rows),
        parameters=sum(count for count in counts if count is not None) if None not in counts else None,
        is_module=first.is_module,
        expected=None if first.is_module else tensor.expected,
        stored=None if first.is_module else tensor.stored,
        role=component.role if component else None,
        component=component.paths[0] if component and component.paths else None,
        reason=tensor.reason,
        names=tuple(row.tensor.name for row in rows),
    )


def _common_name(names: Sequence[str]) -> str:
    return names[0] if len(set(names)) == 1 else folded_path(names[0])


class KeyMap:
    """How the keys of a checkpoint map to paths of the model, learned from keys whose path exists."""

    def __init__(self, paths: Mapping[str, str], converted: frozenset[str] = frozenset()) -> None:
        """`paths`: key → path. `converted`: keys that are merged or split."""
        self._keys: dict[Pattern, dict[Pattern, None]] = defaultdict(dict)
        self._prefixes: dict[Pattern, Counter[Pattern]] = defaultdict(Counter)
        self._renamed: Counter[tuple[Pattern, Pattern, bool]] = Counter()
        for key, path in paths.items():
            self._learn(split(key)[0], split(path)[0], is_converted=key in converted)
        self._has_renamings = any(key != path for key, path in paths.items())

    def key_of(self, path: str) -> str:
        """Return the expected key of a path, joined by ` + ` if there are several; empty if unknown.

        It is the key of the same path in other layers, or has the prefix of neighbouring keys.
        """
        pattern, numbers = split(path)
        if pattern in self._keys:
            return " + ".join(numbered(key, numbers) for key in self._keys[pattern])
        if not self._has_renamings:
            return path
        for length in range(len(pattern) - 1, _SHORTEST_PREFIX - 1, -1):
            prefixes = self._prefixes.get(pattern[:length])
            if prefixes:
                prefix = prefixes.most_common(1)[0][0]
                return numbered((*prefix, *pattern[length:]), numbers)
        return ""

    def lost_keys(self, path: str, keys: Iterable[str], shape: Shape) -> list[str]:
        """Return the keys that are missing among those that are merged into a path of this shape.

        Empty if fewer than half of them are there: then it is not a loss, but another number of experts.
        """
        pattern, numbers = split(path)
        found: dict[Pattern, set[Numbers]] = defaultdict(set)
        for key_pattern, key_numbers in map(split, keys):
            found[key_pattern].add(key_numbers[len(numbers) :])
        members = set().union(*found.values())
        if len(shape) > _MATRIX and all(len(member) == 1 for member in members):  # numbered experts
            members |= {(str(number),) for number in range(shape[0])}
        patterns = self._keys[pattern]
        lost = [(each, member) for each in patterns for member in sorted(members - found[each], key=_by_number)]
        is_loss = 2 * len(lost) < len(patterns) * len(members)
        return [numbered(each, (*numbers, *member)) for each, member in lost] if is_loss else []

    def renamings(self) -> tuple[KeyRenaming, ...]:
        """Return the prefixes that have another name in the model, those of most tensors first."""
        renamings = [
            KeyRenaming(text(key), text(path), count, is_converted)
            for (key, path, is_converted), count in self._renamed.items()
            if key != path
        ]
        return tuple(sorted(renamings, key=lambda each: (-each.count, each.key, each.path)))

    def _learn(self, key: Pattern, path: Pattern, *, is_converted: bool) -> None:
        self._keys[path][key] = None
        shared = _shared_suffix(key, path)
        key_end, path_end = len(key) - shared, len(path) - shared
        if not is_converted:
            # a prefix of `model.layers` also holds for every longer path
            for length in range(shared):
                self._prefixes[path[: path_end + length]][key[: key_end + length]] += 1
        # an empty prefix says little: show `visual` → `model.visual`, not nothing → `model`
        extra = int(key_end != path_end and 0 in (key_end, path_end))
        self._renamed[key[: key_end + extra], path[: path_end + extra], is_converted] += 1


def _shared_suffix(key: Pattern, path: Pattern) -> int:
    """The number of parts that two names have in common, from the end."""
    pairs = zip(reversed(key), reversed(path), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _by_number(numbers: Numbers) -> tuple[int, ...]:
    return tuple(map(int, numbers))
