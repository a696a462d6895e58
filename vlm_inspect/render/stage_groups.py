"""Which steps belong together: equal ones of a numbered list, and branches that lie side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from msgspec import Struct
from msgspec.structs import replace

from vlm_inspect.architecture import Stage
from vlm_inspect.render.repetition import shortest_period

_LEAST_REPEATED = 2


class Group(Struct, frozen=True):
    """Steps that are told together."""

    stages: Sequence[Stage]
    """Of what is repeated, one time of it."""
    times: int = 1
    branches: Sequence[Sequence[Stage]] = ()


def groups(stages: Sequence[Stage]) -> Iterator[Group]:
    """Steps in a row as they are told."""
    for on_branch, run in groupby(stages, lambda stage: stage.branch is not None):
        members = list(run)
        if on_branch:
            branches = [list(each) for _, each in groupby(members, lambda stage: stage.branch)]
            yield Group(members, branches=branches)
        else:
            yield from _in_a_row(members)


def repeated(stages: Sequence[Stage]) -> tuple[Sequence[Stage], int]:
    """One of several branches of equal steps, and how many there are; all steps where there is one."""
    period = shortest_period([_bare(stage) for stage in stages])
    if period < _LEAST_REPEATED or period == len(stages):
        return stages, 1
    return [replace(stage, branch=None) for stage in stages[:period]], len(stages) // period


def _in_a_row(stages: Sequence[Stage]) -> Iterator[Group]:
    start = 0
    while start < len(stages):
        size, times = _list_at(stages, start)
        yield Group(stages[start : start + size], times)
        start += size * times


def _list_at(stages: Sequence[Stage], start: int) -> tuple[int, int]:
    """How many steps each item of a numbered list makes that begins here, and how many equal items it has."""
    for prefix, _ in _numbers(stages[start].path):
        items: list[list[Stage]] = []
        numbers = [dict(_numbers(stage.path)).get(prefix) for stage in stages[start:]]
        for number, run in groupby(zip(numbers, stages[start:], strict=True), lambda pair: pair[0]):
            if number is None:
                break
            items.append([_bare(stage) for _, stage in run])
        size = len(items[0])
        if size >= _LEAST_REPEATED and len(items) > 1 and all(item == items[0] for item in items):
            return size, len(items)
    return 1, 1


def _numbers(path: str) -> Iterator[tuple[str, str]]:
    """The numbered lists that a path goes through, each with the number of its item."""
    parts = path.split(".")
    for index, part in enumerate(parts):
        if part.isdigit():
            yield ".".join(parts[:index]), part


def _bare(stage: Stage) -> Stage:
    return replace(stage, path="", branch=None)
