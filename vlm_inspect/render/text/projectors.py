"""Projectors and pooling by their common names: `2-layer MLP (GELU)`, `Q-Former (12 layers)`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from vlm_inspect.core.architecture import Component
from vlm_inspect.core.stages import (
    ActivationStage,
    BlockStage,
    EmbeddingStage,
    LinearStage,
    MlpStage,
    NormStage,
    ParameterStage,
    Stage,
)
from vlm_inspect.render.cells import Cell, text
from vlm_inspect.render.text.stages import StepGroup, repeated, step_groups
from vlm_inspect.render.text.steps import activation_name, pooling_name, step_name
from vlm_inspect.render.text.values import missing

_PERCEPTRON = (LinearStage, ActivationStage, NormStage)


def projection(component: Component) -> Cell:
    """The layers that map image features to the language model's width."""
    if not component.stages:
        return missing("stages", component.unknown)
    branch, times = repeated(component.stages)
    name = _times(" + ".join(_projection_names(branch)) or _table_name(branch), times)
    return text(name[0].upper() + name[1:])


def pooling(component: Component, vision_width: int | None, feature_layers: int | None = None) -> list[str]:
    """The steps that reduce the number of image tokens, as far as they can be recognised.

    `vision_width` is the hidden size of the vision encoder if the projector reads its output.
    `feature_layers` is the number of encoder layers whose features are used: these (and perhaps the last
    layer's) are concatenated along the width, so no tokens are merged.
    """
    names = [name for stage in component.stages if (name := pooling_name(stage))]
    merged = _features_per_token(component.stages, vision_width)
    if merged and feature_layers and merged in {feature_layers, feature_layers + 1}:
        return [f"None ({merged} layers' features side by side)", *names]
    is_sequential = all(group.times == 1 and not group.branches for group in step_groups(component.stages))
    counts = [merged, *(_merges_between_steps(component.stages) if is_sequential else ())]
    return [*(f"{count} features joined per token" for count in counts if count), *names]


def _times(name: str, times: int) -> str:
    if times == 1:
        return name
    return f"{times} x ({name})" if "+" in name else f"{times} x {name}"


def _projection_names(stages: Sequence[Stage]) -> Iterator[str]:
    """The names of consecutive steps, of parallel branches and of repeated steps."""
    consecutive: list[Stage] = []
    for group in step_groups(stages):
        if group.times == 1 and not group.branches:
            consecutive += group.stages
            continue
        yield from _sequence_names(consecutive)
        consecutive = []
        branches = _branches_name(group, alone=len(group.stages) == len(stages))
        yield branches or _times(" + ".join(_sequence_names(group.stages)), group.times)
    yield from _sequence_names(consecutive)


def _branches_name(group: StepGroup, *, alone: bool) -> str:
    plain = [[replace(stage, branch=None) for stage in branch] for branch in group.branches]
    names = [" + ".join(_projection_names(branch)) for branch in plain]
    if len(names) > 1 and len(set(names)) == 1 and alone:
        return f"{len(names)} x {names[0]}, side by side"
    parallel = " beside ".join(f"({name})" if "+" in name else name for name in names)
    return parallel if alone or not parallel else f"({parallel})"


def _table_name(stages: Sequence[Stage]) -> str:
    """The name of a projector that only looks features up, such as Ovis' visual vocabulary."""
    tables = (stage for stage in stages if isinstance(stage, EmbeddingStage) and stage.num_embeddings)
    table = next(tables, None)
    return f"embedding table ({table.num_embeddings} entries)" if table else "none"


def _sequence_names(stages: Sequence[Stage]) -> Iterator[str]:
    perceptron: list[Stage] = []
    for stage in stages:
        if isinstance(stage, _PERCEPTRON):
            perceptron.append(stage)
        elif not isinstance(stage, EmbeddingStage):  # added embeddings map nothing
            yield from _perceptron_name(perceptron)
            perceptron = []
            if (name := step_name(stage)) is not None:
                yield name
    yield from _perceptron_name(perceptron)


def _perceptron_name(stages: Sequence[Stage]) -> Iterator[str]:
    linears = sum(isinstance(stage, LinearStage) for stage in stages)
    if linears == 1:
        yield "linear"
    elif linears:
        classes = [stage.class_name or "" for stage in stages if isinstance(stage, ActivationStage)]
        activations = ", ".join(dict.fromkeys(map(activation_name, classes)))
        yield f"{linears}-layer MLP" + (f" ({activations})" if activations else "")


def _features_per_token(stages: Sequence[Stage], vision_width: int | None) -> int | None:
    """How many encoder features the first Linear takes as one input.

    They are neighbours on the grid or from several layers; shapes alone do not tell which.
    """
    maps = (LinearStage, MlpStage, BlockStage, ParameterStage)
    first = next((stage for stage in stages if isinstance(stage, maps)), None)
    width = first.input_width if isinstance(first, LinearStage | MlpStage) else None
    if not width or not vision_width:
        return None
    times, rest = divmod(width, vision_width)
    return times if times > 1 and not rest else None


def _merges_between_steps(stages: Sequence[Stage]) -> Iterator[int]:
    """How many tokens later steps concatenate: their input is a multiple of the previous output width."""
    previous_width: int | None = None
    for stage in stages:
        maps = isinstance(stage, LinearStage | MlpStage)
        times, rest = divmod(stage.input_width or 0, previous_width) if maps and previous_width else (1, 0)
        if times > 1 and not rest:
            yield times
        if not isinstance(stage, ActivationStage | NormStage):
            previous_width = stage.output_width if maps else None
