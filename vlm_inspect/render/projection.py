"""Projectors by the names that the field gives them: `2-layer MLP (GELU)`, `Q-Former (12 layers)`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vlm_inspect.architecture import Component, Stage
from vlm_inspect.render.cells import Cell, text
from vlm_inspect.render.figures import counted, square
from vlm_inspect.render.stage_groups import Group, groups, repeated
from vlm_inspect.render.stage_wording import activation_name, query_words
from vlm_inspect.render.states import missing

_PERCEPTRON = {"linear", "activation", "norm"}


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
    tables = [stage for stage in stages if stage.kind == "embedding" and stage.sizes]
    return f"embedding table ({tables[0].sizes[0]} entries)" if tables else "none"


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
        if stage.kind in {"linear", "mlp"} and stage.sizes:
            times, rest = divmod(stage.sizes[0], written) if written else (1, 0)
            if times > 1 and not rest:
                yield times
        if stage.kind not in {"activation", "norm"}:
            written = stage.sizes[-1] if stage.kind in {"linear", "mlp"} and stage.sizes else None


def _projections(stages: Sequence[Stage]) -> Iterator[str]:
    perceptron: list[Stage] = []
    for stage in stages:
        if stage.kind in _PERCEPTRON:
            perceptron.append(stage)
        if stage.kind in _PERCEPTRON or stage.kind == "embedding":  # what is added on the way maps nothing
            continue
        yield from _perceptron(perceptron)
        perceptron = []
        if (word := _single(stage)) is not None:
            yield word
    yield from _perceptron(perceptron)


def _perceptron(stages: Sequence[Stage]) -> Iterator[str]:
    linears = sum(stage.kind == "linear" for stage in stages)
    if linears == 1:
        yield "linear"
    elif linears:
        names = dict.fromkeys(activation_name(s.class_name) for s in stages if s.kind == "activation")
        activations = f" ({', '.join(names)})" if names else ""
        yield f"{linears}-layer MLP{activations}"


def _single(stage: Stage) -> str | None:
    if stage.kind == "mlp":
        return "MLP"
    if stage.kind == "block":
        layers = f" ({counted(stage.layers, 'layer')})" if stage.layers else ""
        return f"{_block_name(stage.class_name)}{layers}"
    if stage.kind == "convolution":
        kernel = f" ({square(stage.kernel)})" if stage.kernel else ""
        return f"convolution{kernel}"
    if stage.kind == "parameter" and len(stage.sizes) == 2:  # noqa: PLR2004 - a matrix
        return f"weight matrix ({square(stage.sizes)})"
    return stage.class_name if stage.kind == "other" else None


def _block_name(class_name: str) -> str:
    lowered = class_name.lower()
    if "qformer" in lowered:
        return "Q-Former"
    if "perceiver" in lowered:
        return "perceiver resampler"
    return "resampler" if "resampler" in lowered else class_name


def _pooling(stage: Stage) -> str | None:
    if stage.queries:
        return f"Learned queries ({query_words(stage)})"
    if stage.kind == "block" and "pool" in stage.path.rpartition(".")[2]:
        return "Attention pooling"
    if stage.kind != "pooling":
        return None
    sides = stage.kernel * 2 if len(stage.kernel) == 1 else stage.kernel
    how = "Max" if "Max" in stage.class_name else "Average"
    return f"{how} pooling ({square(sides)})" if sides else f"{how} pooling"


def _features_joined(stages: Sequence[Stage], vision_width: int | None) -> int | None:
    """How many of the encoder's features enter the first Linear side by side.

    Neighbours on the grid, or those of several layers: shapes alone cannot tell the two apart.
    """
    first = next((stage for stage in stages if stage.kind in {"linear", "mlp", "block", "parameter"}), None)
    if first is None or first.kind not in {"linear", "mlp"} or not vision_width or not first.sizes:
        return None
    times, rest = divmod(first.sizes[0], vision_width)
    return times if times > 1 and not rest else None
