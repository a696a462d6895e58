"""The steps of embeddings, projectors and heads as cell text: `Linear(1024 -> 4096) + GELU + Linear`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from msgspec import Struct
from msgspec.structs import replace

from vlm_inspect.core.architecture import Component
from vlm_inspect.core.stages import BlockStage, EmbeddingStage, LinearStage, ParameterStage, Stage
from vlm_inspect.render.cells import Cell, code, concat, join, text
from vlm_inspect.render.text.steps import step_cell, step_class
from vlm_inspect.render.text.values import runs, short_count, shortest_period

_MIN_REPEATED_STEPS = 2

_MAX_EXTRA_MODULES = 12
_MAX_DUPLICATE_NAMES = 2
# of extra modules, only a size that matters is shown
_LARGE_MODULE = 1_000_000
_PERCENT = 100


def stages_cell(stages: Sequence[Stage], separator: str = " + ") -> Cell:
    """`Linear(1024 -> 4096) + GELU + Linear`; equal branches once: `3 x (LayerNorm … + Linear …)`."""
    branch, times = repeated(stages)
    return _repeated_cell(branch, times) if times > 1 else join(_step_cells(stages), separator)


def embeddings_cell(stages: Sequence[Stage]) -> Cell:
    """`Conv2d(3, 1024) + Embedding(577)`: patch embedding first, then the tables that are added to it.

    That is the order of use; the order of declaration may differ.
    """
    ordered = sorted(stages, key=lambda stage: isinstance(stage, EmbeddingStage | ParameterStage))
    return join((times_cell(cell, count) for cell, count in runs(tuple(_sequence_cells(ordered)))), " + ")


def extra_modules_cell(component: Component) -> Cell:
    """`` `norm` `LlamaRMSNorm` ``: each module by its name, a large one with its parameters."""
    counts: dict[tuple[str, Cell], int] = {}
    names = _distinct_names(component.extra_modules)
    for name, stage in zip(names, component.extra_modules, strict=True):
        description = concat(text(" "), stages_cell([stage]), text(_large_size(stage, component.parameters)))
        counts[name, description] = counts.get((name, description), 0) + 1
    cells = [
        concat(text(f"{count} x " if count > 1 else ""), code(name), description)
        for (name, description), count in counts.items()
    ]
    more = [text("…")] if len(cells) > _MAX_EXTRA_MODULES else []
    return join([*cells[:_MAX_EXTRA_MODULES], *more], ", ")


def times_cell(cell: Cell, count: int) -> Cell:
    """`3 x Embedding(9)`; for a count of 1 the cell itself."""
    if count == 1:
        return cell
    is_sum = any(" + " in span.text for span in cell)
    return concat(text(f"{count} x ("), cell, text(")")) if is_sum else concat(text(f"{count} x "), cell)


class StepGroup(Struct, frozen=True):
    """Consecutive steps that are described together."""

    stages: Sequence[Stage]
    """If the group repeats, the steps of one repetition."""
    times: int = 1
    branches: Sequence[Sequence[Stage]] = ()


def step_groups(stages: Sequence[Stage]) -> Iterator[StepGroup]:
    """Split steps into parallel branches, repeated list items and single steps."""
    for is_branched, run in groupby(stages, lambda stage: stage.branch is not None):
        members = list(run)
        if is_branched:
            branches = [list(branch) for _, branch in groupby(members, lambda stage: stage.branch)]
            yield StepGroup(members, branches=branches)
        else:
            yield from _sequential_groups(members)


def repeated(stages: Sequence[Stage]) -> tuple[Sequence[Stage], int]:
    """One of several branches of equal steps, and their number; else all steps, and 1."""
    period = shortest_period([_without_location(stage) for stage in stages])
    if period < _MIN_REPEATED_STEPS or period == len(stages):
        return stages, 1
    return [replace(stage, branch=None) for stage in stages[:period]], len(stages) // period


def _sequential_groups(stages: Sequence[Stage]) -> Iterator[StepGroup]:
    start = 0
    while start < len(stages):
        size, times = _list_at(stages, start)
        yield StepGroup(stages[start : start + size], times)
        start += size * times


def _list_at(stages: Sequence[Stage], start: int) -> tuple[int, int]:
    """(steps per item, number of equal items) of the numbered list that begins at a position."""
    for list_path, _ in _list_indices(stages[start].path):
        items: list[list[Stage]] = []
        indices = [dict(_list_indices(stage.path)).get(list_path) for stage in stages[start:]]
        for index, run in groupby(zip(indices, stages[start:], strict=True), lambda pair: pair[0]):
            if index is None:
                break
            items.append([_without_location(stage) for _, stage in run])
        size = len(items[0])
        if size >= _MIN_REPEATED_STEPS and len(items) > 1 and all(item == items[0] for item in items):
            return size, len(items)
    return 1, 1


def _list_indices(path: str) -> Iterator[tuple[str, str]]:
    """The numbered lists on a module path, each with the index of its item."""
    parts = path.split(".")
    for position, part in enumerate(parts):
        if part.isdigit():
            yield ".".join(parts[:position]), part


def _without_location(stage: Stage) -> Stage:
    return replace(stage, path="", branch=None)


def _step_cells(stages: Sequence[Stage]) -> Iterator[Cell]:
    input_width: int | None = None
    is_first = True
    for group in step_groups(stages):
        if group.times > 1:
            yield _repeated_cell(group.stages, group.times)
        elif group.branches:
            yield _branches_cell(group.branches, alone=len(group.stages) == len(stages))
        else:
            yield from _sequence_cells(group.stages, input_width, is_first=is_first)
        input_width = _width_after(group.stages[-1], input_width)
        is_first = is_first and not any(isinstance(stage, LinearStage) for stage in group.stages)


def _repeated_cell(stages: Sequence[Stage], times: int) -> Cell:
    return concat(text(f"{times} x ("), join(_sequence_cells(stages), " + "), text(")"))


def _branches_cell(branches: Sequence[Sequence[Stage]], *, alone: bool) -> Cell:
    """`(Linear(768 -> 2048) beside Linear(1024 -> 2048))`; branches of several steps in parentheses."""
    cells = []
    for branch in branches:
        plain = [replace(stage, branch=None) for stage in branch]
        cell = join(_step_cells(plain), " + ")
        cells.append(concat(text("("), cell, text(")")) if len(list(step_groups(plain))) > 1 else cell)
    parallel = join(cells, " beside ")
    return parallel if alone else concat(text("("), parallel, text(")"))


def _sequence_cells(
    stages: Sequence[Stage], input_width: int | None = None, *, is_first: bool = True
) -> Iterator[Cell]:
    """A cell for each step. A Linear that keeps its input's width is bare, but for the first Linear."""
    for stage in stages:
        is_linear = isinstance(stage, LinearStage)
        keeps_width = is_linear and stage.input_width == stage.output_width == input_width
        yield step_class(stage) if keeps_width and not is_first else step_cell(stage)
        is_first = is_first and not is_linear
        input_width = _width_after(stage, input_width)


def _width_after(stage: Stage, input_width: int | None) -> int | None:
    if isinstance(stage, BlockStage):
        return None
    return input_width if stage.output_width is None else stage.output_width


def _distinct_names(stages: Sequence[Stage]) -> Iterator[str]:
    """The last part of each path, with the part before it where a few different modules share a name."""
    for stage in stages:
        *parents, name = stage.path.split(".")
        namesakes = [other.class_name for other in stages if other.path.rpartition(".")[2] == name]
        is_list = len(namesakes) > _MAX_DUPLICATE_NAMES and len(set(namesakes)) == 1
        is_clear = len(namesakes) == 1 or is_list or not parents or parents[-1].isdigit()
        yield name if is_clear else f"{parents[-1]}.{name}"


def _large_size(stage: Stage, total: int | None) -> str:
    count = stage.parameters or 0
    is_large = total is not None and count >= _LARGE_MODULE and count * _PERCENT >= total
    return f" ({short_count(count)} parameters)" if is_large else ""
