"""Stated facts beside derived ones.

A fact that the user states is shown in place of what is derived, unless the model contradicts it: then
the derived value is shown, and a warning says so. Only what can be compared can contradict:

* a count (`8B`, `Mistral-7B`) agrees when it is the model's count rounded or cut off at the digits
  stated, or within 2 % of it (publishers count a table more or less). A backbone may be counted
  with its head or without, or by the whole model's name;
* `yes`, `no` and `optional` (which is yes) on flash attention;
* the size, patch and image size in a vision encoder's name (`clip-vit-large-patch14-336`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec import Struct

from vlm_inspect.core.architecture import Architecture, Component, ConvStage, LinearStage, Role
from vlm_inspect.render.cells import Cell, Fact, Row, concat, link, plain, text
from vlm_inspect.render.text import projectors as projections
from vlm_inspect.render.text.components import depths, of_role
from vlm_inspect.render.text.values import NOT_ASKED, NOT_STATED, class_cell, missing, short_count, unknown
from vlm_inspect.render.vit import VisionTransformer, part_widths

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


FACT_KEYS: tuple[str, ...] = tuple(COMPARED)

_CLOSE = 0.02
_FIGURE = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)\s?([KMBT])\b", re.IGNORECASE)
_UNITS = {"K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
_YES = {"yes", "true", "optional", "supported"}
_NO = {"no", "false", "none", "unsupported", "not supported"}
_SIZE_WORD = re.compile(
    r"(?<![a-z])(?:(tiny|small|base|large|huge|so400m)(?![a-z])|vit[-_ ]?(ti|bigg|[sblhge]|so400m)(?![a-z]))",
    re.IGNORECASE,
)
_SIZE_LETTERS = {"tiny": "Ti", "small": "S", "base": "B", "large": "L", "huge": "H", "so400m": "SO400M"}
_SIZE_LETTERS |= {"ti": "Ti", "s": "S", "b": "B", "l": "L", "h": "H", "e": "e", "bigg": "G"}
_PATCH = re.compile(r"(?:patch[-_ ]?|/)(\d{1,2})(?!\d)", re.IGNORECASE)
_IMAGE = re.compile(r"(?<=[-@_ ])(\d{3,4})(?:px)?(?![\w])")


class Resolved(Struct, frozen=True):
    """What a comparison cell shows, and what is to be said about it."""

    cell: Cell
    warning: str | None = None


def resolve(row: Row, key: str) -> Resolved:
    """The stated fact, the derived value where there is none, or the derived one and a warning."""
    column = COMPARED[key]
    stated = row.facts.get(key)
    derived = column.derive(row.architecture) if column.derive and row.architecture else None
    if stated is None:
        return Resolved(derived or (NOT_ASKED if column.derive else NOT_STATED))
    check = _CHECKS.get(key)
    truth = check(stated, row.architecture) if check and row.architecture else None
    if truth is None or derived is None:
        return Resolved(_stated_cell(key, stated))
    return Resolved(derived, f"{row.name}: stated {column.title} {_words(key, stated)!r}, {truth}")


def warnings_for(row: Row) -> tuple[str, ...]:
    """A sentence for each stated fact that the model contradicts."""
    resolved = (resolve(row, key) for key in FACT_KEYS if key in row.facts)
    return tuple(each.warning for each in resolved if each.warning)


def _stated_cell(key: str, stated: Fact) -> Cell:
    words = _words(key, stated)
    if key == "url" and words.startswith(("https://", "http://")):
        return link(words.rstrip("/").rpartition("/")[2] or words, words)
    return text(words)


def _words(key: str, stated: Fact) -> str:
    if isinstance(stated, bool):
        return "Yes" if stated else "No"
    if isinstance(stated, int) and key == "parameters":
        return short_count(stated)
    return " ".join(str(stated).split())


def _parameters_truth(stated: Fact, architecture: Architecture) -> str | None:
    total = architecture.parameters.total
    figure = _figure(stated)
    if total is None or figure is None or _agrees(*figure, total):
        return None
    return f"the model has {short_count(total)}"


def _backbone_truth(stated: Fact, architecture: Architecture) -> str | None:
    figure = _figure(stated)
    counts = [*_language_counts(architecture)]
    if figure is None or not counts or any(_agrees(*figure, count) for count in counts):
        return None
    return f"its language model has {short_count(counts[0])}"


def _language_counts(architecture: Architecture) -> Iterator[int]:
    """What a language model's name may count: with its head, without, or all of the model it names."""
    with_head = language_parameters(architecture)
    if with_head is None:
        return
    yield with_head
    yield sum(part.parameters or 0 for part in architecture.by_role(Role.LANGUAGE_MODEL))
    if architecture.parameters.total is not None:
        yield architecture.parameters.total


def _flash_truth(stated: Fact, architecture: Architecture) -> str | None:
    supported = supports_flash_attention(architecture)
    claim = _claim(stated)
    if supported is None or claim is None or claim == supported:
        return None
    return "the model's class supports it" if supported else "the model's class does not support it"


def _vision_truth(stated: Fact, architecture: Architecture) -> str | None:
    towers = [VisionTransformer.of(part) for part in architecture.by_role(Role.VISION_ENCODER)]
    if not towers or any(not _differs(str(stated), tower) for tower in towers):
        return None
    return f"the model has {plain(vision_encoder(architecture))}"


_CHECKS: Mapping[str, Callable[[Fact, Architecture], str | None]] = {
    "parameters": _parameters_truth,
    "backbone": _backbone_truth,
    "flash_attention": _flash_truth,
    "vision_encoder": _vision_truth,
}


def _figure(stated: Fact) -> tuple[float, float] | None:
    """(count, unit of its last digit) of the first figure: `4.2B` is (4.2e9, 1e8)."""
    if isinstance(stated, int) and not isinstance(stated, bool):
        written = str(stated)
        return stated, 10 ** (len(written) - len(written.rstrip("0")))
    match = _FIGURE.search(str(stated))
    if match is None:
        return None
    digits, unit = match[1], _UNITS[match[2].upper()]
    return float(digits) * unit, unit / 10 ** len(digits.partition(".")[2])


def _agrees(stated: float, last_digit: float, count: int) -> bool:
    above = count - stated
    return -last_digit / 2 <= above < last_digit or abs(above) <= _CLOSE * count


def _claim(stated: Fact) -> bool | None:
    if isinstance(stated, bool):
        return stated
    said = " ".join(str(stated).lower().split())
    return True if said in _YES else False if said in _NO else None


def _differs(stated: str, tower: VisionTransformer) -> bool:
    """Whether the name says a size, a patch or an image size that the tower is known not to have."""
    patch, image = _PATCH.search(stated), _IMAGE.search(stated)
    pairs = (
        (_stated_size(stated), tower.size),
        (int(patch[1]) if patch else None, tower.patch),
        (int(image[1]) if image else None, tower.image[0] if tower.image else None),
    )
    return any(said is not None and known is not None and said != known for said, known in pairs)


def _stated_size(stated: str) -> str | None:
    match = _SIZE_WORD.search(stated)
    if match is None:
        return None
    word = match[1] or match[2]
    # ViT-g and ViT-G are two sizes
    return word if word in {"g", "G"} else _SIZE_LETTERS[word.lower()]
