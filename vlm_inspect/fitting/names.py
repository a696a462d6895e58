"""The two names of a tensor: what parts of a checkpoint lie where in the model, and the way back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from vlm_inspect.fit import KeyRenaming
from vlm_inspect.patterns import Pattern, split, text

Ends = tuple[Pattern, Pattern]

# parts that a path must share with another for that one's key to tell its own: below `model` lies everything
_TELLING = 2


class Names:
    """Where a checkpoint's keys lie in the model, learnt from those that have a place there."""

    def __init__(self, paths: Mapping[str, str], converted: frozenset[str] = frozenset()) -> None:
        """`paths`: key → path, of keys whose path the model has."""
        self._whole: dict[str, list[str]] = {}
        self._heads: dict[Pattern, Counter[Pattern]] = {}
        self._ends: Counter[tuple[Ends, bool]] = Counter()
        for key, path in paths.items():
            self._learn(split(key)[0], split(path)[0], is_converted=key in converted)
        self._has_renamings = any(key != path for key, path in paths.items())

    def key_of(self, path: str) -> str:
        """The key that a path would have in this checkpoint; several, where several make it; else empty.

        As the same place of other layers has it, or else as what lies beside it.
        """
        pattern, numbers = split(path)
        known = self._whole.get(text(pattern))
        if known:
            return " + ".join(_numbered(key, numbers) for key in known)
        if not self._has_renamings:
            return path
        for length in range(len(pattern) - 1, _TELLING - 1, -1):
            heads = self._heads.get(pattern[:length])
            if heads:
                head = heads.most_common(1)[0][0]
                return _numbered(text((*head, *pattern[length:])), numbers)
        return ""

    def renamings(self) -> tuple[KeyRenaming, ...]:
        """The parts that have another name in the model, those with most tensors first."""
        told = [
            KeyRenaming(text(key), text(path), count, is_converted)
            for ((key, path), is_converted), count in self._ends.items()
            if key != path
        ]
        return tuple(sorted(told, key=lambda each: (-each.count, each.key, each.path)))

    def _learn(self, key: Pattern, path: Pattern, *, is_converted: bool) -> None:
        written = self._whole.setdefault(text(path), [])
        if text(key) not in written:
            written.append(text(key))
        shared = _shared_end(key, path)
        heads = key[: len(key) - shared], path[: len(path) - shared]
        if not is_converted:
            # what is said of `model.layers` holds of everything below, so longer places learn it too
            for length in range(shared):
                longer = path[: len(heads[1]) + length]
                self._heads.setdefault(longer, Counter())[key[: len(heads[0]) + length]] += 1
        # an end of no part at all says little: `visual` → `model.visual`, not nothing → `model`
        room = 1 if not all(heads) and heads[0] != heads[1] else 0
        ends = key[: len(heads[0]) + room], path[: len(heads[1]) + room]
        self._ends[ends, is_converted] += 1


def _shared_end(key: Pattern, path: Pattern) -> int:
    """How many parts two names have in common, from the end."""
    count = 0
    for one, other in zip(reversed(key), reversed(path), strict=False):
        if one != other:
            break
        count += 1
    return count


def _numbered(pattern: str, numbers: tuple[str, ...]) -> str:
    """A pattern with a path's numbers put in; where it has more of them (experts), the rest stay `*`."""
    left = iter(numbers)
    return ".".join(next(left, "*") if part == "*" else part for part in pattern.split("."))
