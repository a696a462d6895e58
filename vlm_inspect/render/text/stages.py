"""The steps of embeddings, projectors and heads as cell text: `Linear(1024 -> 4096) + GELU + Linear`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

from msgspec import Struct
from msgspec.structs import replace

from vlm_inspect.core.architecture import Component, Norm
from vlm_inspect.core.stages import (
    ActivationStage,
    BlockStage,
    ConvStage,
    EmbeddingStage,
    LinearStage,
    MlpStage,
    NormStage,
    OtherStage,
    ParameterStage,
    PoolingStage,
    Stage,
)
from vlm_inspect.render.cells import Cell, code, concat, join, text
from vlm_inspect.render.text.values import plural, runs, short_count, shortest_period, unknown

_MIN_REPEATED_STEPS = 2

# PyTorch's own classes are written as PyTorch prints them; a model's own are identifiers
_TORCH_NORM = re.compile(r"(Layer|RMS)Norm")
_TORCH_CHANNEL_NORM = re.compile(r"(Group|(Sync)?Batch|Instance)Norm([123]d)?")
_TORCH_LAYER = re.compile(r"Linear|Embedding|Parameter|Conv(Transpose)?[123]d|(Adaptive)?(Avg|Max|LP)Pool[123]d")
_PERCEIVER = re.compile(r"(Perceiver|Resampler)")
_ACTIVATION_AFFIX = re.compile(r"^(Pytorch|New|Fast|Accurate)|Activation$|(?<=GELU)Tanh$")
_ACTIVATION_SPELLING = {"gelu": "GELU", "silu": "SiLU", "swish": "SiLU", "relu": "ReLU", "quick": "Quick"}
_ACTIVATION_DETAILS = {"pytorch", "tanh", "new", "fast", "python"}
_KIND_NOUNS = {"mlp": "MLP", "other": "module"}

_MAX_EXTRA_MODULES = 12
_MAX_DUPLICATE_NAMES = 2
# of extra modules, only a size that matters is shown
_LARGE_MODULE = 1_000_000
_PERCENT = 100


def stages_cell(stages: Sequence[Stage]) -> Cell:
    """`Linear(1024 -> 4096) + GELU + Linear`; equal branches once: `3 x (LayerNorm … + Linear …)`."""
    branch, times = repeated(stages)
    return _repeated_cell(branch, times) if times > 1 else join(_step_cells(stages), " + ")


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


def norm_cell(norm: Norm) -> Cell:
    """`LayerNorm((1024,), eps=1e-05)` for PyTorch's own; a model's own class by its name."""
    if norm.class_name is None:
        width_prefix = f"width {norm.width}, " if norm.width else ""
        return concat(text(f"{width_prefix}class "), unknown(norm.unknown.get("class_name", "")))
    has_shape = _TORCH_NORM.fullmatch(norm.class_name)
    if not has_shape and not _TORCH_CHANNEL_NORM.fullmatch(norm.class_name):
        return code(norm.class_name)
    width = [] if norm.width is None else [f"({norm.width},)" if has_shape else str(norm.width)]
    eps = [] if norm.eps is None else [f"eps={norm.eps}"]
    return text(f"{norm.class_name}({', '.join(width + eps)})")


def activation_name(name: str) -> str:
    """The function's common name: `PytorchGELUTanh`, `GELUActivation` and `gelu_new` are all `GELU`."""
    if name.islower():
        parts = [part for part in name.split("_") if part not in _ACTIVATION_DETAILS] or [name]
        return "".join(_ACTIVATION_SPELLING.get(part, part.capitalize()) for part in parts)
    while (shorter := _ACTIVATION_AFFIX.sub("", name)) not in {name, ""}:
        name = shorter
    return name


def widths(values: Sequence[int | None]) -> str:
    """`1024 -> 4096 -> 1024`, with a question mark for an unknown width."""
    return " -> ".join("?" if value is None else str(value) for value in values)


def query_count(stage: BlockStage) -> str:
    """`64 latents` of a perceiver, `32 query tokens` of any other block."""
    noun = "latent" if _PERCEIVER.search(stage.class_name or "") else "query token"
    return plural(stage.num_queries or 0, noun)


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
        cell = join(_step_cells([replace(stage, branch=None) for stage in branch]), " + ")
        cells.append(concat(text("("), cell, text(")")) if len(branch) > 1 else cell)
    parallel = join(cells, " beside ")
    return parallel if alone else concat(text("("), parallel, text(")"))


def _sequence_cells(
    stages: Sequence[Stage], input_width: int | None = None, *, is_first: bool = True
) -> Iterator[Cell]:
    """A cell for each step. A Linear that keeps its input's width is bare, but for the first Linear."""
    for stage in stages:
        is_linear = isinstance(stage, LinearStage)
        keeps_width = is_linear and stage.input_width == stage.output_width == input_width
        yield _stage_class(stage) if keeps_width and not is_first else _stage_cell(stage)
        is_first = is_first and not is_linear
        input_width = _width_after(stage, input_width)


def _width_after(stage: Stage, input_width: int | None) -> int | None:
    if isinstance(stage, BlockStage):
        return None
    return input_width if stage.output_width is None else stage.output_width


def _stage_cell(stage: Stage) -> Cell:
    if isinstance(stage, ActivationStage):
        return text(activation_name(stage.class_name or ""))
    if isinstance(stage, NormStage) and stage.class_name:
        return norm_cell(Norm(stage.class_name, stage.width, stage.eps))
    sizes = _stage_sizes(stage)
    if not sizes:
        return _stage_class(stage)
    # `Linear(…)` for PyTorch's own class, `` `OwnLinear` (…) `` for a model's own
    gap = "" if stage.class_name and _TORCH_LAYER.fullmatch(stage.class_name) else " "
    return concat(_stage_class(stage), text(f"{gap}({sizes})"))


def _stage_class(stage: Stage) -> Cell:
    if not stage.class_name:
        if "class_name" in stage.unknown:
            return text(f"{_KIND_NOUNS.get(stage.kind, stage.kind)} of unknown class")
        return text("gated MLP")  # its projections are separate steps
    is_torch = _TORCH_LAYER.fullmatch(stage.class_name)
    return text(stage.class_name) if is_torch else code(stage.class_name)


def _stage_sizes(stage: Stage) -> str:  # noqa: PLR0911 - one for each kind of step
    match stage:
        case LinearStage():
            return widths((stage.in_features, stage.out_features))
        case MlpStage():
            return widths(stage.sizes)
        case NormStage():
            return "" if stage.width is None else str(stage.width)
        case ConvStage():
            return f"{stage.in_channels}, {stage.out_channels}"
        case EmbeddingStage():
            rows = () if stage.num_embeddings is None else (stage.num_embeddings,)
            return " x ".join(map(str, stage.grid or rows))
        case PoolingStage():
            sides = set(stage.kernel_size)
            return ", ".join(map(str, sides if len(sides) == 1 else stage.kernel_size))
        case BlockStage():
            layers = [plural(stage.num_layers, "layer")] if stage.num_layers else []
            return ", ".join([*layers, *([query_count(stage)] if stage.num_queries else [])])
        case ParameterStage() | OtherStage():
            return ", ".join(map(str, stage.shape))
        case _:
            return ""


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
