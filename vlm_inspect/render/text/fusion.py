"""How images, videos and audio enter the language model, as cell text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vlm_inspect.core.architecture import Architecture, Connection, Evidence, FusionStep, Modality, ModalityInput
from vlm_inspect.render.cells import Cell, Line, code, concat, join, text
from vlm_inspect.render.text.components import encoder_layers
from vlm_inspect.render.text.values import ABSENT, missing, unknown

_STEPS: Mapping[FusionStep, str] = {
    "patches": "raw patches",
    "codes": "discrete tokens",
    "queries": "learned queries",
    "placeholders": "placeholder tokens",
    "added placeholders": "added to placeholder tokens",
    "addition": "added to text tokens",
    "prefix": "before the text",
    "suffix": "after the text",
    "layers": "added between layers",
    "cross-attention": "cross-attention",
}
_TITLES: Mapping[Modality, str] = {"image": "Image fusion", "video": "Video fusion", "audio": "Audio fusion"}


def fusion_cell(architecture: Architecture, modality: Modality) -> Cell:
    """`learned queries, then placeholder tokens`; of images, with the videos if these differ."""
    shown: tuple[Modality, ...] = ("image", "video") if modality == "image" else (modality,)
    cells = {entry.modality: _steps(entry) for entry in architecture.inputs if entry.modality in shown}
    if not cells:
        return missing("inputs", architecture.unknown, otherwise=ABSENT)
    if len(set(cells.values())) == 1:
        return next(iter(cells.values()))
    return join((concat(text(f"{name}: "), cell) for name, cell in cells.items()), "; ")


def fusion_lines(architecture: Architecture, *, explain: bool = False) -> Iterator[Line]:
    """A card's line for each modality, with its placeholder token; `explain` adds the evidence."""
    if "inputs" in architecture.unknown:
        yield _TITLES["image"], unknown(architecture.unknown["inputs"])
    for entry in architecture.inputs:
        yield _TITLES[entry.modality], concat(_steps(entry), _placeholder_token(entry))
        for evidence in entry.evidence if explain else ():
            yield "Evidence", text(evidence_text(evidence))


def connection_lines(connection: Connection) -> Iterator[Line]:
    """What a projector reads, and where its output goes, as far as they are known."""
    if connection.reads:
        layers = (encoder_layers(connection),) if connection.layers else ()
        yield "Reads", join([*map(code, connection.reads), *layers], ", ")
    if connection.feeds:
        yield "Feeds", code(connection.feeds)
    elif connection.steps:
        yield "Feeds", text(", ".join(["language model", *(_STEPS[step] for step in connection.steps)]))


def evidence_text(evidence: Evidence) -> str:
    """`LlavaModel.vision_tower, by accessor: …`: a finding, its rule and its detail."""
    return f"{evidence.finding}, by {evidence.rule}: {evidence.detail}"


def _steps(entry: ModalityInput) -> Cell:
    if not entry.steps:
        return missing("steps", entry.unknown)
    return text(", then ".join(_STEPS[step] for step in entry.steps))


def _placeholder_token(entry: ModalityInput) -> Cell:
    """`` (`image_token_index` 32000) ``."""
    if entry.token_key is None or entry.token_id is None:
        return ()
    return concat(text(" ("), code(entry.token_key), text(f" {entry.token_id})"))
