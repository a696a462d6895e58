"""The columns of the comparison: what is derived from the record, and what only the user can state."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vlm_inspect.architecture import Architecture, Component, Role
from vlm_inspect.render import projection as projections
from vlm_inspect.render.cells import Cell, concat, link, text
from vlm_inspect.render.figures import short_count
from vlm_inspect.render.states import NOT_ASKED, class_cell, missing, unknown
from vlm_inspect.render.vit import VisionTransformer, part_widths
from vlm_inspect.render.wording import of_role

_HUB = "https://huggingface.co"
_HUB_ID = re.compile(r"[\w.\-]+/[\w.\-]+")


@dataclass(frozen=True, slots=True)
class Compared:
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
    projectors = architecture.having(Role.PROJECTOR)
    if not projectors or not any(projector.stages for projector in projectors):
        return of_role(architecture, Role.PROJECTOR, projections.projection)
    widths = {
        width
        for part in architecture.having(Role.VISION_ENCODER)
        for width in (part.width, *part_widths(part))
    }
    width = widths.pop() if len(widths) == 1 else None
    words = [word for projector in projectors for word in projections.pooling(projector, width)]
    return text(" + ".join(dict.fromkeys(words)) or "None in projector")


def projection(architecture: Architecture) -> Cell:
    """`2-layer MLP (GELU)`."""
    return of_role(architecture, Role.PROJECTOR, projections.projection, counts=True)


def backbone(architecture: Architecture) -> Cell:
    """`` `MistralModel`, 32 layers, 7.24B ``: with the head, as language models are counted."""
    figure = language_parameters(architecture)

    def word(component: Component) -> Cell:
        depths = " + ".join(str(stack.count) for stack in component.stacks)
        figures = [f"{depths} layers"] if depths else []
        figures += [short_count(figure)] if figure is not None else []
        told = "".join(f", {value}" for value in figures)
        return concat(class_cell(component.class_name, component.unknown), text(told))

    return of_role(architecture, Role.LANGUAGE_MODEL, word)


def flash_attention(architecture: Architecture) -> Cell:
    """`Yes` where the model's class supports it."""
    supported = supports_flash_attention(architecture)
    if supported is None:
        return missing("supports", architecture.unknown, otherwise=unknown(""))
    return text("Yes" if supported else "No")


def model_card(architecture: Architecture) -> Cell:
    """A link to the model's page, where it is known to have one."""
    model = architecture.model
    if model.source not in {"hub", "catalogue"} or not _HUB_ID.fullmatch(model.id):
        return NOT_ASKED
    return link(model.id.rpartition("/")[2], f"{_HUB}/{model.id}")


def language_parameters(architecture: Architecture) -> int | None:
    """Parameters of the language model and its head; None where one of them is not known."""
    parts = (*architecture.having(Role.LANGUAGE_MODEL), *architecture.having(Role.LM_HEAD))
    counts = [part.parameters for part in parts]
    known = [count for count in counts if count is not None]
    return sum(known) if counts and len(known) == len(counts) else None


def supports_flash_attention(architecture: Architecture) -> bool | None:
    """Whether the class says so; None where it was not seen."""
    return None if architecture.supports is None else "flash_attention" in architecture.supports


def _vision_name(component: Component) -> Cell:
    if component.class_name is None:
        return class_cell(None, component.unknown)
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
