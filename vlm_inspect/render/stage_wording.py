"""The steps of an embedding, a projector or a head, in words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec.structs import replace

from vlm_inspect.architecture import Norm, Stage, StageKind
from vlm_inspect.render.cells import Cell, code, concat, join, text
from vlm_inspect.render.figures import counted
from vlm_inspect.render.repetition import runs
from vlm_inspect.render.stage_groups import groups, repeated
from vlm_inspect.render.states import unknown

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
_NAMELESS: Mapping[StageKind, str] = {"mlp": "MLP", "other": "module"}
_TABLES: frozenset[StageKind] = frozenset({"embedding", "parameter"})


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
    ordered = sorted(stages, key=lambda stage: stage.kind in _TABLES)
    return join((several(cell, count) for cell, count in runs(tuple(_words(ordered)))), " + ")


def several(cell: Cell, count: int) -> Cell:
    """`3 x Embedding(9)`; one is the cell itself."""
    if count == 1:
        return cell
    is_sum = any(" + " in span.text for span in cell)
    return concat(text(f"{count} x ("), cell, text(")")) if is_sum else concat(text(f"{count} x "), cell)


def norm_cell(norm: Norm) -> Cell:
    """`LayerNorm((1024,), eps=1e-05)` for torch's own; a model's own class by its name."""
    if not norm.class_name and "class_name" in norm.unknown:
        sized = f"width {norm.width}, " if norm.width else ""
        return concat(text(f"{sized}class "), unknown(norm.unknown["class_name"]))
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


def query_words(stage: Stage) -> str:
    """`64 latents` of a perceiver, `32 query tokens` of anything else."""
    noun = "latent" if _PERCEIVER.search(stage.class_name) else "query token"
    return counted(stage.queries or 0, noun)


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
        is_first = is_first and all(stage.kind != "linear" for stage in group.stages)


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
        if stage.kind == "linear" and not is_first and stage.sizes == (given, given):
            yield _class_name(stage)
        else:
            yield _WORDS[stage.kind](stage)
        is_first = is_first and stage.kind != "linear"
        given = _width_after(stage, given)


def _width_after(stage: Stage, given: int | None) -> int | None:
    if stage.kind in {"activation", "pooling"} or not stage.sizes:
        return None if stage.kind == "block" else given
    return stage.sizes[-1]


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


def _through(stage: Stage) -> Cell:
    return _with(stage, widths(stage.sizes))


def _sized(stage: Stage) -> Cell:
    return _with(stage, ", ".join(str(size) for size in stage.sizes))


def _embedding(stage: Stage) -> Cell:
    entries = stage.sizes[:-1] or stage.sizes
    return _with(stage, " x ".join(str(side) for side in entries))


def _activation(stage: Stage) -> Cell:
    return text(activation_name(stage.class_name))


def _norm(stage: Stage) -> Cell:
    if not stage.class_name:
        return _with(stage, ", ".join(str(size) for size in stage.sizes))
    return norm_cell(Norm(stage.class_name, stage.sizes[0] if stage.sizes else None, stage.eps))


def _pooling(stage: Stage) -> Cell:
    sides = dict.fromkeys(stage.kernel)
    return _with(stage, ", ".join(str(side) for side in (sides if len(sides) == 1 else stage.kernel)))


def _block(stage: Stage) -> Cell:
    inside = [counted(stage.layers, "layer")] if stage.layers else []
    inside += [query_words(stage)] if stage.queries else []
    return _with(stage, ", ".join(inside))


_WORDS: Mapping[StageKind, Callable[[Stage], Cell]] = {
    "linear": _through,
    "activation": _activation,
    "norm": _norm,
    "convolution": _sized,
    "embedding": _embedding,
    "parameter": _sized,
    "mlp": _through,
    "pooling": _pooling,
    "block": _block,
    "other": _sized,
}
