"""The columns of the comparison: what is derived from the record, and what only the user can state."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from vlm_inspect.architecture import Architecture, Component, ConvStage, LinearStage, Role
from vlm_inspect.render import projection as projections
from vlm_inspect.render.cells import Cell, concat, link, text
from vlm_inspect.render.figures import short_count
from vlm_inspect.render.states import NOT_ASKED, class_cell, missing, unknown
from vlm_inspect.render.vit import VisionTransformer, part_widths
from vlm_inspect.render.wording import depths, of_role

_HUB = "https://huggingface.co"
_SOUND = re.compile(r"(audio|speech|sound|acoustic)")
_HUB_ID = re.compile(r"[\w.\-]+/[\w.\-]+")


class Compared(Struct, frozen=True):
    """A column of the comparison."""

    title: str
    derive: Callable[[Architecture], Cell] | None = None
    """None where no module tree can tell: the user states it, or nobody does."""


def parameters(architecture: Architecture) -> Cell:
    """`8.40B`."""
    total = architecture.parameters.total
    if total is None:
        return missing("total", architecture.parameters.unknown)
    return text(short_count(total))


def vision_encoder(architecture: Architecture) -> Cell:
    """`CLIP ViT-L/14-336`."""
    return of_role(architecture, Role.VISION_ENCODER, _vision_name, counts=True)


def pooling(architecture: Architecture) -> Cell:
    """`Learned queries (64 latents)`; what pools inside an encoder is no step of a projector."""
    projectors = architecture.by_role(Role.PROJECTOR)
    if not projectors or not any(projector.stages for projector in projectors):
        return of_role(architecture, Role.PROJECTOR, projections.projection)
    towers = architecture.by_role(Role.VISION_ENCODER)
    widths = {width for part in towers for width in (part.width, *part_widths(part))}
    width = widths.pop() if len(widths) == 1 else None
    layers = next(
        (each.image.feature_layers for each in towers if each.image and each.image.feature_layers), None
    )
    words = [
        word
        for part in _of_images(projectors, towers)
        for word in projections.pooling(part, width if _reads(part, projectors, towers) else None, layers)
    ]
    return text(" + ".join(dict.fromkeys(words)) or "None in projector")


def _of_images(projectors: Sequence[Component], towers: Sequence[Component]) -> list[Component]:
    """The projectors but those that are named for sound, where there are images at all."""
    return [part for part in projectors if not towers or not any(map(_SOUND.search, part.paths))]


def _reads(part: Component, projectors: Sequence[Component], towers: Sequence[Component]) -> bool:
    """Whether a projector reads what a tower's layers write: not one behind the tower's own last steps."""
    writes = {
        stage.output_width
        for tower in towers
        for stage in tower.extra_modules
        if isinstance(stage, LinearStage | ConvStage)
    }
    if part.stages and part.stages[0].input_width in writes:
        return False
    tops = [f"{path}." for tower in towers for path in tower.paths]
    inside = [each for each in projectors if any(path.startswith(tuple(tops)) for path in each.paths[:1])]
    return part in inside or not inside


def projection(architecture: Architecture) -> Cell:
    """`2-layer MLP (GELU)`."""
    return of_role(architecture, Role.PROJECTOR, projections.projection, counts=True)


def backbone(architecture: Architecture) -> Cell:
    """`` `MistralModel`, 32 layers, 7.24B ``: with the head, as language models are counted."""
    figure = language_parameters(architecture)

    def word(component: Component) -> Cell:
        figures = [depths(component)] if component.stacks else []
        figures += [short_count(figure)] if figure is not None else []
        told = "".join(f", {value}" for value in figures)
        return concat(class_cell(component.class_name, component.unknown), text(told))

    return of_role(architecture, Role.LANGUAGE_MODEL, word)


def flash_attention(architecture: Architecture) -> Cell:
    """`Yes` where the model's class supports it."""
    supported = supports_flash_attention(architecture)
    if supported is None:
        return missing("attention_backends", architecture.unknown, otherwise=unknown(""))
    return text("Yes" if supported else "No")


def model_card(architecture: Architecture) -> Cell:
    """A link to the model's page, where it is known to have one."""
    model = architecture.model
    if model.source not in {"hub", "catalogue"} or not _HUB_ID.fullmatch(model.id):
        return NOT_ASKED
    return link(model.id.rpartition("/")[2], f"{_HUB}/{model.id}")


def language_parameters(architecture: Architecture) -> int | None:
    """Parameters of the language model and its head; None where one of them is not known."""
    parts = (*architecture.by_role(Role.LANGUAGE_MODEL), *architecture.by_role(Role.LM_HEAD))
    counts = [part.parameters for part in parts]
    known = [count for count in counts if count is not None]
    return sum(known) if counts and len(known) == len(counts) else None


def supports_flash_attention(architecture: Architecture) -> bool | None:
    """Whether the class says so; None where it was not seen."""
    return (
        None
        if architecture.attention_backends is None
        else "flash_attention" in architecture.attention_backends
    )


def _vision_name(component: Component) -> Cell:
    if component.class_name is None or "stacks" in component.unknown:
        return class_cell(component.class_name, component.unknown)
    return text(str(VisionTransformer.of(component)))


COMPARED: Mapping[str, Compared] = {
    "parameters": Compared("# of Parameters", parameters),
    "architecture": Compared("Architecture"),
    "vision_encoder": Compared("Vision Encoder", vision_encoder),
    "pooling": Compared("Pooling", pooling),
    "projection": Compared("Modality Projection", projection),
    "backbone": Compared("Language Model Backbone", backbone),
    "fine_tuning": Compared("Fine-tuning Method"),
    "flash_attention": Compared("Flash Attention", flash_attention),
    "url": Compared("Hugging Face Model Card URL", model_card),
}
