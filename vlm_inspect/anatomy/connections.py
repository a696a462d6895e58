"""What each projector reads, and where its output goes.

Several projectors are the steps of one sequence, or stand side by side: for each modality, each encoder, or each
level of an encoder. A sequence ends at the language model's width.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from vlm_inspect.anatomy.fusion import ENCODER_ROLES, modalities_of, names_in
from vlm_inspect.anatomy.module_kinds import is_list
from vlm_inspect.anatomy.sub_configs import part_config
from vlm_inspect.core.architecture import (
    ENCODERS,
    Component,
    Connection,
    FusionStep,
    Modality,
    ModalityInput,
    Role,
)
from vlm_inspect.core.module_tree import ModuleTree, is_below, last_name
from vlm_inspect.core.stages import ConvStage, LinearStage, MlpStage

Components = Sequence[Component]

# the keys that list the encoder layers whose outputs are projected
_LEVELS = re.compile(r"(deepstack|feature|intermediate|select|out)\w*(index|indices|layer|level)", re.IGNORECASE)
_MAPS = (LinearStage, MlpStage, ConvStage)
_BEFORE_TEXT = frozenset({"patches", "codes", "queries"})


class _Projector(Struct, frozen=True):
    """A projector, the encoders of its features, and the indices of the encoder layers if it has one part for each."""

    part: Component
    encoders: Components
    modality: Modality | None
    layers: tuple[int, ...]


def with_connections(tree: ModuleTree, components: Components, inputs: Sequence[ModalityInput]) -> Iterator[Component]:
    """The components, with the connection of each projector."""
    found = [_projector(tree, part, components, inputs) for part in components if _is_projector(part)]
    width = next((part.width for part in components if part.role is Role.LANGUAGE_MODEL), None)
    next_step: dict[int, int] = {}
    for index, projector in enumerate(found):
        for before, earlier in enumerate(found[:index]):
            if before not in next_step and _follows(projector, earlier, width):
                next_step[before] = index
    connections = iter([_connection(index, found, next_step, inputs) for index in range(len(found))])
    for part in components:
        yield replace(part, connection=next(connections)) if _is_projector(part) else part


def _is_projector(part: Component) -> bool:
    return part.role is Role.PROJECTOR and bool(part.paths)


def _connection(
    index: int, projectors: Sequence[_Projector], next_step: Mapping[int, int], inputs: Sequence[ModalityInput]
) -> Connection:
    this = projectors[index]
    before = [projectors[each] for each, after in next_step.items() if after == index]
    covered = [encoder for each in before for encoder in each.encoders]
    sources = [each.part for each in before] + [each for each in this.encoders if each not in covered]
    after = projectors[next_step[index]].part.paths[0] if index in next_step else None
    steps = () if after else _steps(this, projectors, inputs)
    unknown = {} if this.modality else {"modality": "neither an encoder nor a name shows it"}
    if not steps and after is None:
        unknown["steps"] = "the source does not show how its output reaches the text"
    return Connection(
        modality=this.modality,
        reads=tuple(part.paths[0] for part in sources),
        layers=this.layers,
        feeds=after,
        steps=steps,
        unknown=unknown,
    )


def _steps(
    this: _Projector, projectors: Sequence[_Projector], inputs: Sequence[ModalityInput]
) -> tuple[FusionStep, ...]:
    """How its output enters the text. Only the levels of an encoder go into the layers, if there are some."""
    modalities = [this.modality, "video"] if this.modality == "image" else [this.modality]
    steps = [step for name in modalities for each in inputs if each.modality == name for step in each.steps]
    ways = dict.fromkeys(step for step in steps if step not in _BEFORE_TEXT)
    has_levels = any(each.layers for each in projectors if each.modality == this.modality)
    if len(ways) > 1 and has_levels:
        return tuple(step for step in ways if (step == "layers") == bool(this.layers))
    return tuple(ways)


def _projector(
    tree: ModuleTree, part: Component, components: Components, inputs: Sequence[ModalityInput]
) -> _Projector:
    encoders = _encoders_of(part, [each for each in components if each.role in ENCODERS and each.paths])
    modality: Modality | None
    if encoders and encoders[0].role is Role.VISION_ENCODER:
        modality = "video" if modalities_of([last_name(part.paths[0])]) == {"video"} else "image"
    elif encoders:
        modality = "audio"
    else:
        named = modalities_of(names_in(part)) or {each.modality for each in inputs}
        modality = next(iter(named - {"video"}), None) if len(named - {"video"}) == 1 else None
    return _Projector(part, encoders, modality, _layers(tree, part, encoders))


def _encoders_of(part: Component, encoders: Components) -> Components:
    """The encoders that a projector reads: around it or nearest to it, then by names, then by widths."""
    around = [each for each in encoders if any(is_below(part.paths[0], path) for path in each.paths)]
    roles = {ENCODER_ROLES[name] for name in modalities_of(names_in(part))}
    named = [each for each in encoders if each.role in roles]
    nearest = _best(encoders, lambda each: _common_length(part.paths[0], each.paths[0]))
    found = around or (nearest if len(nearest) < len(encoders) else named or encoders)
    found = _best(found, lambda each: len(_words(part) & _words(each)))
    width = _input_width(part)
    found = _best(found, lambda each: bool(width and each.width and width % each.width == 0))
    images = [each for each in found if each.role is Role.VISION_ENCODER]
    return images or found


def _best(parts: Components, score: Callable[[Component], int]) -> Components:
    scores = [score(each) for each in parts]
    return [each for each, value in zip(parts, scores, strict=True) if value == max(scores)]


def _common_length(one: str, other: str) -> int:
    """The number of names that two paths begin with."""
    pairs = zip(one.split("."), other.split("."), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _words(part: Component) -> set[str]:
    return set(last_name(part.paths[0]).split("_"))


def _layers(tree: ModuleTree, part: Component, encoders: Components) -> tuple[int, ...]:
    """The encoder layers that a list of projectors reads, one each, by the encoder's configuration."""
    node = tree.find(part.paths[0])
    if node is None or not is_list(node) or len(encoders) != 1:
        return ()
    (encoder,) = encoders
    stack = tree.find(encoder.stacks[0].path) if encoder.stacks else None
    config = tree.config_at(encoder.paths[0]) if tree.configs else part_config(tree.config, encoder.role, "", stack)
    lists = [tuple(value) for key, value in config.items() if _LEVELS.search(key) and isinstance(value, (list, tuple))]
    fitting = [each for each in lists if _are_layers(each, encoder.layer_count) and len(each) == len(node.children)]
    return fitting[0] if len(fitting) == 1 else ()


def _are_layers(values: Sequence[Any], count: int | None) -> bool:
    return count is not None and all(type(value) is int and -count <= value < count for value in values)


def _follows(later: _Projector, earlier: _Projector, width: int | None) -> bool:
    """Whether a projector reads the output of an earlier one, and not what that one reads.

    An output that does not have the language model's width yet has to be projected further.
    """
    if not any(each in earlier.encoders for each in later.encoders) and later.encoders != earlier.encoders:
        return False
    if (later.modality == "audio") != (earlier.modality == "audio"):
        return False
    taken, given = _input_width(later.part), _output_width(earlier.part)
    if taken is None or given is None:  # two resamplers of one class stand side by side
        return later.part.class_name != earlier.part.class_name
    takes_the_same = taken == _input_width(earlier.part)
    fits = taken % given == 0
    if later.layers or (takes_the_same and not fits):
        return False
    return (fits and not takes_the_same) or (given != width and width is not None)


def _input_width(part: Component) -> int | None:
    """The width of the features that it reads; a norm may come before neighbours are joined."""
    return next((stage.input_width for stage in part.stages if isinstance(stage, _MAPS)), None)


def _output_width(part: Component) -> int | None:
    return next((stage.output_width for stage in reversed(part.stages) if stage.output_width), None)
