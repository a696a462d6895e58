"""A difference as far as it is of components of some roles."""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Set as AbstractSet

from msgspec.structs import replace

from vlm_inspect.architecture import Role
from vlm_inspect.compare.patterns import folded_path
from vlm_inspect.difference import ComponentPair, Difference, Move
from vlm_inspect.tree import is_below


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
