"""The steps of an embedding, a projector or a head, in words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

from msgspec import Struct
from msgspec.structs import replace

from vlm_inspect.core.architecture import (
    ActivationStage,
    BlockStage,
    Component,
    ConvStage,
    EmbeddingStage,
    LinearStage,
    MlpStage,
    Norm,
    NormStage,
    ParameterStage,
    PoolingStage,
    Stage,
)
from vlm_inspect.render.cells import Cell, code, concat, join, text
from vlm_inspect.render.text.values import counted, runs, short_count, shortest_period, unknown

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


# torch's own classes are written as torch prints them; a model's own are names in code
_TORCH_NORM = re.compile(r"(Layer|RMS)Norm")
_TORCH_CHANNEL_NORM = re.compile(r"(Group|(Sync)?Batch|Instance)Norm([123]d)?")
_TORCH_LAYER = re.compile(
    r"Linear|Embedding|Parameter|Conv(Transpose)?[123]d|(Adaptive)?(Avg|Max|LP)Pool[123]d"
)
_PERCEIVER = re.compile(r"(Perceiver|Resampler)")
_ACTIVATION_WRAPPING = re.compile(r"^(Pytorch|New|Fast|Accurate)|Activation$|(?<=GELU)Tanh$")
_ACTIVATION_SPELLING = {"gelu": "GELU", "silu": "SiLU", "swish": "SiLU", "relu": "ReLU", "quick": "Quick"}
_ACTIVATION_DETAILS = {"pytorch", "tanh", "new", "fast", "python"}
_NAMELESS = {"mlp": "MLP", "other": "module"}


def stages_cell(stages: Sequence[Stage]) -> Cell:
    """`Linear(1024 -> 4096) + GELU + Linear`; equal branches once: `3 x (LayerNorm … + Linear …)`."""
    branch, times = repeated(stages)
    if times > 1:
        return _times(branch, times)
    return join(_parts(stages), " + ")


def embeddings_cell(stages: Sequence[Stage]) -> Cell:
    """`Conv2d(3, 1024) + Embedding(577)`: what takes the patches in, then the tables that are added to it.

    That is the order of use, which the order of declaration need not be.
    """
    ordered = sorted(stages, key=lambda stage: isinstance(stage, EmbeddingStage | ParameterStage))
    return join((several(cell, count) for cell, count in runs(tuple(_words(ordered)))), " + ")


def several(cell: Cell, count: int) -> Cell:
    """`3 x Embedding(9)`; one is the cell itself."""
    if count == 1:
        return cell
    is_sum = any(" + " in span.text for span in cell)
    return concat(text(f"{count} x ("), cell, text(")")) if is_sum else concat(text(f"{count} x "), cell)


def norm_cell(norm: Norm) -> Cell:
    """`LayerNorm((1024,), eps=1e-05)` for torch's own; a model's own class by its name."""
    if norm.class_name is None:
        sized = f"width {norm.width}, " if norm.width else ""
        return concat(text(f"{sized}class "), unknown(norm.unknown.get("class_name", "")))
    shaped = _TORCH_NORM.fullmatch(norm.class_name)
    if not shaped and not _TORCH_CHANNEL_NORM.fullmatch(norm.class_name):
        return code(norm.class_name)
    width = [] if norm.width is None else [f"({norm.width},)" if shaped else str(norm.width)]
    eps = [] if norm.eps is None else [f"eps={norm.eps}"]
    return text(f"{norm.class_name}({', '.join(width + eps)})")


def activation_name(name: str) -> str:
    """The function's own name: `PytorchGELUTanh`, `GELUActivation` and `gelu_new` are all `GELU`."""
    if name.islower():
        parts = [part for part in name.split("_") if part not in _ACTIVATION_DETAILS] or [name]
        return "".join(_ACTIVATION_SPELLING.get(part, part.capitalize()) for part in parts)
    while (shorter := _ACTIVATION_WRAPPING.sub("", name)) not in {name, ""}:
        name = shorter
    return name


def widths(values: Sequence[int | None]) -> str:
    """`1024 -> 4096 -> 1024`; a width that is not known is a question mark."""
    return " -> ".join("?" if value is None else str(value) for value in values)


def query_words(stage: BlockStage) -> str:
    """`64 latents` of a perceiver, `32 query tokens` of anything else."""
    noun = "latent" if _PERCEIVER.search(stage.class_name or "") else "query token"
    return counted(stage.num_queries or 0, noun)


def _parts(stages: Sequence[Stage]) -> Iterator[Cell]:
    """The words of steps in a row, of branches beside each other, and of what is repeated."""
    given: int | None = None
    is_first = True
    for group in groups(stages):
        if group.times > 1:
            yield _times(group.stages, group.times)
        elif group.branches:
            yield _beside(group.branches, alone=len(group.stages) == len(stages))
        else:
            yield from _words(group.stages, given, is_first=is_first)
        given = _width_after(group.stages[-1], given)
        is_first = is_first and not any(isinstance(stage, LinearStage) for stage in group.stages)


def _times(stages: Sequence[Stage], times: int) -> Cell:
    return concat(text(f"{times} x ("), join(_words(stages), " + "), text(")"))


def _beside(branches: Sequence[Sequence[Stage]], *, alone: bool) -> Cell:
    """`(Linear(768 -> 2048) beside Linear(1024 -> 2048))`; branches of several steps in parentheses."""
    told = []
    for branch in branches:
        words = join(_parts([replace(stage, branch=None) for stage in branch]), " + ")
        told.append(concat(text("("), words, text(")")) if len(branch) > 1 else words)
    cell = join(told, " beside ")
    return cell if alone else concat(text("("), cell, text(")"))


def _words(stages: Sequence[Stage], given: int | None = None, *, is_first: bool = True) -> Iterator[Cell]:
    for stage in stages:
        is_linear = isinstance(stage, LinearStage)
        keeps_width = is_linear and stage.input_width == stage.output_width == given
        yield _class_name(stage) if keeps_width and not is_first else _word(stage)
        is_first = is_first and not is_linear
        given = _width_after(stage, given)


def _width_after(stage: Stage, given: int | None) -> int | None:
    if isinstance(stage, BlockStage):
        return None
    return given if stage.output_width is None else stage.output_width


def _class_name(stage: Stage) -> Cell:
    if not stage.class_name:
        if "class_name" in stage.unknown:
            return text(f"{_NAMELESS.get(stage.kind, stage.kind)} of unknown class")
        return text("gated MLP")  # its projections lie among the other steps
    is_torch = _TORCH_LAYER.fullmatch(stage.class_name)
    return text(stage.class_name) if is_torch else code(stage.class_name)


def _with(stage: Stage, inside: str) -> Cell:
    """`Linear(…)` for torch's own class, `` `OwnLinear` (…) `` for a model's own."""
    if not inside:
        return _class_name(stage)
    gap = "" if stage.class_name and _TORCH_LAYER.fullmatch(stage.class_name) else " "
    return concat(_class_name(stage), text(f"{gap}({inside})"))


def _embedding(stage: EmbeddingStage) -> str:
    return " x ".join(
        map(str, stage.grid or ([stage.num_embeddings] if stage.num_embeddings is not None else []))
    )


def _norm(stage: NormStage) -> Cell:
    if not stage.class_name:
        return _with(stage, "" if stage.width is None else str(stage.width))
    return norm_cell(Norm(stage.class_name, stage.width, stage.eps))


def _block(stage: BlockStage) -> str:
    inside = [counted(stage.num_layers, "layer")] if stage.num_layers else []
    return ", ".join([*inside, *([query_words(stage)] if stage.num_queries else [])])


def _listed(sizes: Sequence[int]) -> str:
    return ", ".join(map(str, sizes))


def _word(stage: Stage) -> Cell:  # noqa: PLR0911 - one for each kind of step
    match stage:
        case LinearStage():
            return _with(stage, widths((stage.in_features, stage.out_features)))
        case MlpStage():
            return _with(stage, widths(stage.sizes))
        case ActivationStage():
            return text(activation_name(stage.class_name or ""))
        case NormStage():
            return _norm(stage)
        case ConvStage():
            return _with(stage, _listed((stage.in_channels, stage.out_channels)))
        case EmbeddingStage():
            return _with(stage, _embedding(stage))
        case PoolingStage():
            sides = dict.fromkeys(stage.kernel_size)
            return _with(stage, _listed(list(sides) if len(sides) == 1 else stage.kernel_size))
        case BlockStage():
            return _with(stage, _block(stage))
        case _:
            return _with(stage, _listed(stage.shape))


_MOST = 12
_FEW = 2
# a final norm is always there and always small: what is told is what counts
_LARGE = 1_000_000
_SHARE = 100


def beside_cell(component: Component) -> Cell:
    """`` `norm` LlamaRMSNorm ``: by name, with the parameters of what holds more than a hundredth of all."""
    named: dict[tuple[str, Cell], int] = {}
    for name, stage in zip(_names(component.extra_modules), component.extra_modules, strict=True):
        told = concat(text(" "), stages_cell([stage]), text(_size(stage, component.parameters)))
        named[name, told] = named.get((name, told), 0) + 1
    cells = [
        concat(text(f"{count} x " if count > 1 else ""), code(name), told)
        for (name, told), count in named.items()
    ]
    return join([*cells[:_MOST], *([text("…")] if len(cells) > _MOST else [])], ", ")


def _names(stages: Sequence[Stage]) -> Iterator[str]:
    """The last part of each path; with the one before where a few different things have one name."""
    for stage in stages:
        *before, last = stage.path.split(".")
        namesakes = [other.class_name for other in stages if other.path.rpartition(".")[2] == last]
        in_a_row = len(namesakes) > _FEW and len(set(namesakes)) == 1
        is_told = len(namesakes) == 1 or in_a_row or not before or before[-1].isdigit()
        yield last if is_told else f"{before[-1]}.{last}"


def _size(stage: Stage, total: int | None) -> str:
    own = stage.parameters or 0
    is_large = total is not None and own >= _LARGE and own * _SHARE >= total
    return f" ({short_count(own)} parameters)" if is_large else ""
