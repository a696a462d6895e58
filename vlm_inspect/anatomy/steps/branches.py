"""Steps that lie side by side: branches that are added or joined, told apart by widths alone.

Modules are declared one below the other whether one reads what the other writes or not. Where a step
cannot read what the one before it wrote, and both ways end at one width (or what follows is as wide as
all of them together), they are branches.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from vlm_inspect.architecture import (
    ActivationStage,
    BlockStage,
    ConvStage,
    LinearStage,
    MlpStage,
    Stage,
)

_FEWEST = 2


def with_branches(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """The steps; those that lie side by side with the number of their branch."""
    segments, tail = _joined(_segments(stages))
    ends = {_end(segment) for segment in segments}
    if len(segments) < _FEWEST or not all(map(_maps, segments)) or (not tail and len(ends) != 1):
        return tuple(stages)
    numbered = [replace(stage, branch=index) for index, segment in enumerate(segments) for stage in segment]
    return (*numbered, *tail)


def breaks(stages: Sequence[Stage]) -> int:
    """How many steps cannot read what the one before them wrote."""
    return len(_segments(stages)) - 1


def _segments(stages: Sequence[Stage]) -> list[list[Stage]]:
    """The steps, cut where a width does not fit the one before."""
    segments: list[list[Stage]] = [[]]
    written: int | None = None
    activated = False
    for stage in stages:
        given = stage.input_width
        if given and written and not _fits(written, given, activated=activated):
            segments.append([])
        segments[-1].append(stage)
        if isinstance(stage, BlockStage):
            written = None
        elif given:
            written, activated = stage.output_width, False
        activated = activated or isinstance(stage, ActivationStage)
    return segments


def _fits(written: int, given: int, *, activated: bool) -> bool:
    """As wide, several side by side, or half of it: a gate that no module stands for."""
    return given % written == 0 or (activated and written == 2 * given)


def _joined(segments: list[list[Stage]]) -> tuple[list[list[Stage]], list[Stage]]:
    """The branches, and the steps after them where one takes in as much as all branches write."""
    *before, last = segments
    for index, stage in enumerate(last):
        own = _end(last[:index])
        if own and stage.input_width == sum(_end(segment) or 0 for segment in before) + own and before:
            while isinstance(
                last[index - 1], ActivationStage
            ):  # the same before the branches are joined and after
                index -= 1  # noqa: PLW2901 - the loop ends here
            return [*before, last[:index]], last[index:]
    return segments, []


def _end(segment: Sequence[Stage]) -> int | None:
    return next((stage.output_width for stage in reversed(segment) if stage.input_width), None)


def _maps(segment: Sequence[Stage]) -> bool:
    return any(isinstance(stage, LinearStage | MlpStage | ConvStage) for stage in segment)
