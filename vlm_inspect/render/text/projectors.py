"""Projectors by the names that the field gives them: `2-layer MLP (GELU)`, `Q-Former (12 layers)`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vlm_inspect.core.architecture import (
    ActivationStage,
    BlockStage,
    Component,
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
from vlm_inspect.render.cells import Cell, text
from vlm_inspect.render.text.steps import Group, activation_name, groups, query_words, repeated
from vlm_inspect.render.text.values import counted, missing, square

_PERCEPTRON = (LinearStage, ActivationStage, NormStage)


def projection(component: Component) -> Cell:
    """What maps the image's features to the language model's width."""
    if not component.stages:
        return missing("stages", component.unknown)
    branch, times = repeated(component.stages)
    words = " + ".join(_told(branch, alone=True)) or _tables(branch)
    several = f"{times} x ({words})" if "+" in words else f"{times} x {words}"
    sentence = several if times > 1 else words
    return text(sentence[0].upper() + sentence[1:])


def _told(stages: Sequence[Stage], *, alone: bool = False) -> Iterator[str]:
    """The words of steps in a row; of branches beside each other; of what is repeated."""
    row: list[Stage] = []
    for group in groups(stages):
        if group.times == 1 and not group.branches:
            row += group.stages
            continue
        yield from _projections(row)
        row = []
        yield _beside(group, alone=alone and len(group.stages) == len(stages)) or _repeated(group)
    yield from _projections(row)


def _beside(group: Group, *, alone: bool) -> str:
    words = [" + ".join(_projections(branch)) for branch in group.branches]
    if len(words) > 1 and len(set(words)) == 1 and alone:
        return f"{len(words)} x {words[0]}, side by side"
    told = " beside ".join(f"({word})" if "+" in word else word for word in words)
    return told if alone else f"({told})" if told else ""


def _repeated(group: Group) -> str:
    words = " + ".join(_projections(group.stages))
    return f"{group.times} x ({words})" if "+" in words else f"{group.times} x {words}"


def _tables(stages: Sequence[Stage]) -> str:
    """What looks features up, where nothing else is done: Ovis' visual words."""
    tables = (stage for stage in stages if isinstance(stage, EmbeddingStage) and stage.num_embeddings)
    table = next(tables, None)
    return f"embedding table ({table.num_embeddings} entries)" if table else "none"


def pooling(component: Component, vision_width: int | None, layers: int | None = None) -> list[str]:
    """What makes fewer tokens of the image's features, as far as the steps tell.

    `layers` is of how many of the encoder's layers the features are handed on, its last perhaps besides:
    those lie side by side, and no token is joined to another.
    """
    words = [word for stage in component.stages if (word := _pooling(stage))]
    joined = _features_joined(component.stages, vision_width)
    if joined and layers and joined in {layers, layers + 1}:
        return [f"None ({joined} layers' features side by side)", *words]
    in_a_row = all(group.times == 1 and not group.branches for group in groups(component.stages))
    told = [joined, *(_joined_inside(component.stages) if in_a_row else ())]
    return [*(f"{count} features joined per token" for count in told if count), *words]


def _joined_inside(stages: Sequence[Stage]) -> Iterator[int]:
    """How many tokens later steps take in side by side: several times the width that was written."""
    written: int | None = None
    for stage in stages:
        maps = isinstance(stage, LinearStage | MlpStage)
        times, rest = divmod(stage.input_width or 0, written) if maps and written else (1, 0)
        if times > 1 and not rest:
            yield times
        if not isinstance(stage, ActivationStage | NormStage):
            written = stage.output_width if maps else None


def _projections(stages: Sequence[Stage]) -> Iterator[str]:
    perceptron: list[Stage] = []
    for stage in stages:
        if isinstance(stage, _PERCEPTRON):
            perceptron.append(stage)
        if isinstance(stage, (*_PERCEPTRON, EmbeddingStage)):  # what is added on the way maps nothing
            continue
        yield from _perceptron(perceptron)
        perceptron = []
        if (word := _single(stage)) is not None:
            yield word
    yield from _perceptron(perceptron)


def _perceptron(stages: Sequence[Stage]) -> Iterator[str]:
    linears = sum(isinstance(stage, LinearStage) for stage in stages)
    if linears == 1:
        yield "linear"
    elif linears:
        called = [stage.class_name or "" for stage in stages if isinstance(stage, ActivationStage)]
        names = dict.fromkeys(map(activation_name, called))
        activations = f" ({', '.join(names)})" if names else ""
        yield f"{linears}-layer MLP{activations}"


def _single(stage: Stage) -> str | None:
    if isinstance(stage, MlpStage):
        return "MLP"
    if isinstance(stage, BlockStage):
        layers = f" ({counted(stage.num_layers, 'layer')})" if stage.num_layers else ""
        return f"{_block_name(stage.class_name or '')}{layers}"
    if isinstance(stage, ConvStage):
        kernel = f" ({square(stage.kernel_size)})" if stage.kernel_size else ""
        return f"convolution{kernel}"
    if isinstance(stage, ParameterStage) and stage.is_matrix:
        return f"weight matrix ({square(stage.shape)})"
    return stage.class_name or "" if isinstance(stage, OtherStage) else None


def _block_name(class_name: str) -> str:
    lowered = class_name.lower()
    if "qformer" in lowered:
        return "Q-Former"
    if "perceiver" in lowered:
        return "perceiver resampler"
    return "resampler" if "resampler" in lowered else class_name


def _pooling(stage: Stage) -> str | None:
    if isinstance(stage, BlockStage) and stage.num_queries:
        return f"Learned queries ({query_words(stage)})"
    if isinstance(stage, BlockStage) and "pool" in stage.path.rpartition(".")[2]:
        return "Attention pooling"
    if not isinstance(stage, PoolingStage):
        return None
    sides = stage.kernel_size * 2 if len(stage.kernel_size) == 1 else stage.kernel_size
    how = "Max" if "Max" in (stage.class_name or "") else "Average"
    return f"{how} pooling ({square(sides)})" if sides else f"{how} pooling"


def _features_joined(stages: Sequence[Stage], vision_width: int | None) -> int | None:
    """How many of the encoder's features enter the first Linear side by side.

    Neighbours on the grid, or those of several layers: shapes alone cannot tell the two apart.
    """
    maps = (LinearStage, MlpStage, BlockStage, ParameterStage)
    first = next((stage for stage in stages if isinstance(stage, maps)), None)
    if not isinstance(first, LinearStage | MlpStage) or not vision_width or first.input_width is None:
        return None
    times, rest = divmod(first.input_width, vision_width)
    return times if times > 1 and not rest else None
