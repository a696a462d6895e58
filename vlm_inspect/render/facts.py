"""The comparison table: derived values, and facts stated by the user that are checked against them.

A stated fact replaces the derived value, unless the model contradicts it: then the derived value is shown
with a warning. Only parameter counts, flash attention and a vision encoder's name can be contradicted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec import Struct

from vlm_inspect.core.architecture import Architecture, Component, Role
from vlm_inspect.core.stages import ConvStage, LinearStage
from vlm_inspect.render.cells import Cell, Fact, Row, concat, link, plain_text, text
from vlm_inspect.render.text import projectors, values
from vlm_inspect.render.text.components import depths, of_projectors, of_role
from vlm_inspect.render.vit import VisionTransformer, layer_widths

_HUB = "https://huggingface.co"
_HUB_ID = re.compile(r"[\w.\-]+/[\w.\-]+")
_AUDIO_PATH = re.compile(r"(audio|speech|sound|acoustic)")

_TOLERANCE = 0.02
_COUNT = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)\s?([KMBT])\b", re.IGNORECASE)
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


class ComparisonColumn(Struct, frozen=True):
    """A column of the comparison table."""

    title: str
    derive: Callable[[Architecture], Cell] | None = None
    """None if the module tree cannot tell and only the user can state it."""
    contradiction: Callable[[Fact, Architecture], str | None] | None = None
    """Why a stated fact is wrong; None if it agrees or cannot be compared."""


class ResolvedFact(Struct, frozen=True):
    """A comparison cell, and the warning about it."""

    cell: Cell
    warning: str | None = None


def resolve_fact(row: Row, key: str) -> ResolvedFact:
    """The stated fact; the derived value if nothing is stated, or if it contradicts the stated fact."""
    column = COMPARISON[key]
    stated = row.facts.get(key)
    derived = column.derive(row.architecture) if column.derive and row.architecture else None
    if stated is None:
        return ResolvedFact(derived or (values.NOT_APPLICABLE if column.derive else values.NOT_STATED))
    value = _stated_text(key, stated)
    if derived and row.architecture and column.contradiction:
        contradiction = column.contradiction(stated, row.architecture)
        if contradiction is not None:
            return ResolvedFact(derived, f"{row.name}: stated {column.title} {value!r}, {contradiction}")
    if key == "url" and value.startswith(("https://", "http://")):
        return ResolvedFact(link(value.rstrip("/").rpartition("/")[2] or value, value))
    return ResolvedFact(text(value))


def fact_warnings(row: Row) -> tuple[str, ...]:
    """A sentence for each stated fact that the model contradicts."""
    resolved = (resolve_fact(row, key) for key in COMPARISON if key in row.facts)
    return tuple(fact.warning for fact in resolved if fact.warning)


def parameters(architecture: Architecture) -> Cell:
    """`8.40B`."""
    total, unknowns = architecture.parameters.total, architecture.parameters.unknown
    return values.missing("total", unknowns) if total is None else text(values.short_count(total) + mark(architecture))


def mark(architecture: Architecture) -> str:
    """The mark of a count that includes the head, if the record does not know whether the head is tied."""
    return values.UNCERTAIN if architecture.parameters.uncertain else ""


def flash_attention(architecture: Architecture) -> Cell:
    """`Yes` if the model's class supports it."""
    supported = _supports_flash_attention(architecture)
    if supported is None:
        return values.missing("attention_backends", architecture.unknown, otherwise=values.unknown(""))
    return text("Yes" if supported else "No")


def _vision_encoder(architecture: Architecture) -> Cell:
    """`CLIP ViT-L/14-336`."""

    def describe(component: Component) -> Cell:
        if component.class_name is None or "stacks" in component.unknown:
            return values.class_cell(component.class_name, component.unknown)
        return text(str(VisionTransformer.of(component)))

    return of_role(architecture, Role.VISION_ENCODER, describe, show_counts=True)


def _pooling(architecture: Architecture) -> Cell:
    """`Learned queries (64 latents)`; pooling inside an encoder is not part of a projector."""
    parts = architecture.by_role(Role.PROJECTOR)
    if not any(part.stages for part in parts):
        return of_role(architecture, Role.PROJECTOR, projectors.projection)
    encoders = architecture.by_role(Role.VISION_ENCODER)
    widths = {width for encoder in encoders for width in (encoder.width, *layer_widths(encoder))}
    width = widths.pop() if len(widths) == 1 else None
    images = (encoder.image for encoder in encoders if encoder.image)
    feature_layers = next((image.feature_layers for image in images if image.feature_layers), None)
    names = [
        name
        for part in parts
        if not encoders or not any(map(_AUDIO_PATH.search, part.paths))
        for name in projectors.pooling(part, width if _reads_encoder(part, parts, encoders) else None, feature_layers)
    ]
    return text(" + ".join(dict.fromkeys(names)) or "None in projector")


def _reads_encoder(part: Component, parts: Sequence[Component], encoders: Sequence[Component]) -> bool:
    """Whether a projector reads the output of the encoder's layers, not of the encoder's final projection."""
    final_widths = {
        stage.output_width
        for encoder in encoders
        for stage in encoder.extra_modules
        if isinstance(stage, LinearStage | ConvStage)
    }
    if part.stages and part.stages[0].input_width in final_widths:
        return False
    prefixes = tuple(f"{path}." for encoder in encoders for path in encoder.paths)
    inside = [each for each in parts if any(path.startswith(prefixes) for path in each.paths[:1])]
    return part in inside or not inside


def _projection(architecture: Architecture) -> Cell:
    """`2-layer MLP (GELU)`."""
    return of_projectors(architecture, projectors.projection)


def _backbone(architecture: Architecture) -> Cell:
    """`` `MistralModel`, 32 layers, 7.24B ``: language models are counted with their head."""
    count = _language_parameters(architecture)

    def describe(component: Component) -> Cell:
        figures = [depths(component)] if component.stacks else []
        figures += [values.short_count(count) + mark(architecture)] if count is not None else []
        class_name = values.class_cell(component.class_name, component.unknown)
        return concat(class_name, text("".join(f", {figure}" for figure in figures)))

    return of_role(architecture, Role.LANGUAGE_MODEL, describe)


def model_card(architecture: Architecture) -> Cell:
    """A link to the model's page on the Hub, if it has one."""
    model = architecture.model
    if model.source not in {"hub", "catalogue"} or not _HUB_ID.fullmatch(model.id):
        return values.NOT_APPLICABLE
    return link(model.id.rpartition("/")[2], f"{_HUB}/{model.id}")


def _language_parameters(architecture: Architecture) -> int | None:
    """Parameters of the language model and its head; None if one of them is unknown."""
    parts = (*architecture.by_role(Role.LANGUAGE_MODEL), *architecture.by_role(Role.LM_HEAD))
    known = [part.parameters for part in parts if part.parameters is not None]
    return sum(known) if parts and len(known) == len(parts) else None


def _supports_flash_attention(architecture: Architecture) -> bool | None:
    backends = architecture.attention_backends
    return None if backends is None else "flash_attention" in backends


def _stated_text(key: str, stated: Fact) -> str:
    if isinstance(stated, bool):
        return "Yes" if stated else "No"
    if isinstance(stated, int) and key == "parameters":
        return values.short_count(stated)
    return " ".join(str(stated).split())


def _parameters_contradiction(stated: Fact, architecture: Architecture) -> str | None:
    total = architecture.parameters.total
    count = _stated_count(stated)
    if total is None or count is None or _agrees(*count, total):
        return None
    return f"the model has {values.short_count(total)}"


def _backbone_contradiction(stated: Fact, architecture: Architecture) -> str | None:
    count = _stated_count(stated)
    actual = list(_language_counts(architecture))
    if count is None or not actual or any(_agrees(*count, each) for each in actual):
        return None
    return f"its language model has {values.short_count(actual[0])}"


def _language_counts(architecture: Architecture) -> Iterator[int]:
    """The counts that a language model's name may hold: with its head, without, or the whole model."""
    with_head = _language_parameters(architecture)
    if with_head is None:
        return
    yield with_head
    yield sum(part.parameters or 0 for part in architecture.by_role(Role.LANGUAGE_MODEL))
    if architecture.parameters.total is not None:
        yield architecture.parameters.total


def _flash_attention_contradiction(stated: Fact, architecture: Architecture) -> str | None:
    supported, value = _supports_flash_attention(architecture), _as_bool(stated)
    if supported is None or value is None or value == supported:
        return None
    return "the model's class supports it" if supported else "the model's class does not support it"


def _vision_encoder_contradiction(stated: Fact, architecture: Architecture) -> str | None:
    encoders = [VisionTransformer.of(part) for part in architecture.by_role(Role.VISION_ENCODER)]
    if not encoders or any(not _differs(str(stated), encoder) for encoder in encoders):
        return None
    return f"the model has {plain_text(_vision_encoder(architecture))}"


def _stated_count(stated: Fact) -> tuple[float, float] | None:
    """(count, unit of its last digit) of the first count in a text: `4.2B` is (4.2e9, 1e8)."""
    if isinstance(stated, int) and not isinstance(stated, bool):
        digits = str(stated)
        return stated, 10 ** (len(digits) - len(digits.rstrip("0")))
    match = _COUNT.search(str(stated))
    if match is None:
        return None
    digits, unit = match[1], _UNITS[match[2].upper()]
    return float(digits) * unit, unit / 10 ** len(digits.partition(".")[2])


def _agrees(stated: float, last_digit: float, count: int) -> bool:
    """Whether a count is the stated one, rounded or cut at its digits, or nearly: publishers differ."""
    difference = count - stated
    return -last_digit / 2 <= difference < last_digit or abs(difference) <= _TOLERANCE * count


def _as_bool(stated: Fact) -> bool | None:
    if isinstance(stated, bool):
        return stated
    value = " ".join(str(stated).lower().split())
    return True if value in _YES else False if value in _NO else None


def _differs(stated: str, encoder: VisionTransformer) -> bool:
    """Whether the stated name has a size, patch or image size that the encoder is known not to have."""
    patch, image = _PATCH.search(stated), _IMAGE.search(stated)
    pairs = (
        (_stated_size(stated), encoder.size),
        (int(patch[1]) if patch else None, encoder.patch),
        (int(image[1]) if image else None, encoder.image[0] if encoder.image else None),
    )
    return any(value is not None and actual is not None and value != actual for value, actual in pairs)


def _stated_size(stated: str) -> str | None:
    match = _SIZE_WORD.search(stated)
    if match is None:
        return None
    word = match[1] or match[2]
    # ViT-g and ViT-G are different sizes
    return word if word in {"g", "G"} else _SIZE_LETTERS[word.lower()]


COMPARISON: Mapping[str, ComparisonColumn] = {
    "parameters": ComparisonColumn("# of Parameters", parameters, _parameters_contradiction),
    "architecture": ComparisonColumn("Architecture"),
    "vision_encoder": ComparisonColumn("Vision Encoder", _vision_encoder, _vision_encoder_contradiction),
    "pooling": ComparisonColumn("Pooling", _pooling),
    "projection": ComparisonColumn("Modality Projection", _projection),
    "backbone": ComparisonColumn("Language Model Backbone", _backbone, _backbone_contradiction),
    "fine_tuning": ComparisonColumn("Fine-tuning Method"),
    "flash_attention": ComparisonColumn("Flash Attention", flash_attention, _flash_attention_contradiction),
    "url": ComparisonColumn("Hugging Face Model Card URL", model_card),
}
FACT_KEYS: tuple[str, ...] = tuple(COMPARISON)
