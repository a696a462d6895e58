"""Which path of the one tree is which of the other: the same answer whichever tree is asked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from msgspec.structs import replace

from vlm_inspect.compare.patterns import numbered, pattern_of, split
from vlm_inspect.difference import Move


def apply_moves(path: str, moves: Iterable[Move]) -> str:
    """Where a path is that the new tree does not have: the longest prefix that moved decides."""
    return placing(moves)(path)


def placing(moves: Iterable[Move]) -> Callable[[str], str]:
    """`apply_moves` for many paths."""
    targets = {pattern_of(move.before): pattern_of(move.after) for move in moves}
    longest = max(map(len, targets), default=-1)

    def place(path: str) -> str:
        if not targets:
            return path
        pattern, numbers = split(path)
        for length in range(min(longest, len(pattern)), -1, -1):
            target = targets.get(pattern[:length])
            if target is not None:
                return ".".join(numbered((*target, *pattern[length:]), numbers))
        return path

    return place


def turned(moves: Iterable[Move]) -> list[Move]:
    """The moves that lead back."""
    return [replace(move, before=move.after, after=move.before) for move in moves]


class Places:
    """Moves, read in both directions: two paths are one where each leads to the other.

    Where moves lie inside one another a path may lead to where another one came from. Such a path is at
    no place: what is decided by one direction alone would be decided otherwise by the other.
    """

    def __init__(self, moves: Collection[Move]) -> None:
        self.there, self._back = placing(moves), placing(turned(moves))

    def are_one(self, old: str, new: str) -> bool:
        """Whether what is at the one path of the old tree moved to the other one of the new tree."""
        return self.there(old) == new and self._back(new) == old

    def pairs(
        self, old: Collection[str], new: Collection[str], may_stay: Callable[[str], bool] = lambda _path: True
    ) -> dict[str, str]:
        """The paths of the old tree that the new one has too, each with its place there; no place twice.

        What both trees have stayed where it is, if it may; of the rest moves lead to places that are left.
        """
        stayed = {path for path in old if path in new and may_stay(path)}
        found = {}
        for path in old:
            place = path if path in stayed else self.there(path)
            if path in stayed or (place in new and place not in stayed and self._back(place) == path):
                found[path] = place
        return found
