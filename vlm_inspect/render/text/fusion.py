"""How images, videos and sounds get into the language model, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from vlm_inspect.core.architecture import Architecture, FusionStep, Modality, ModalityInput
from vlm_inspect.render.cells import Cell, code, concat, join, text
from vlm_inspect.render.text.values import ABSENT, missing, unknown

Line = tuple[str, Cell]

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
_TITLES: Mapping[Modality, str] = {"image": "Image entry", "video": "Video entry", "audio": "Audio entry"}


def entry_cell(architecture: Architecture, modality: Modality) -> Cell:
    """`learned queries, then placeholder tokens`; of images, with the videos where those have another way."""
    shown: tuple[Modality, ...] = ("image", "video") if modality == "image" else (modality,)
    entries = [entry for entry in architecture.inputs if entry.modality in shown]
    if not entries:
        return missing("inputs", architecture.unknown, otherwise=ABSENT)
    cells = {entry.modality: _steps(entry) for entry in entries}
    if len(set(cells.values())) == 1:
        return next(iter(cells.values()))
    return join((concat(text(f"{name}: "), cell) for name, cell in cells.items()), "; ")


def entry_lines(architecture: Architecture, *, explain: bool = False) -> Iterator[Line]:
    """A card's line for each modality, with its placeholder token; `explain` adds why it is believed."""
    if "inputs" in architecture.unknown:
        yield _TITLES["image"], unknown(architecture.unknown["inputs"])
    for entry in architecture.inputs:
        yield _TITLES[entry.modality], concat(_steps(entry), _token(entry))
        for evidence in entry.evidence if explain else ():
            yield "Why", text(f"{evidence.finding}, by {evidence.rule}: {evidence.detail}")


def _steps(entry: ModalityInput) -> Cell:
    if not entry.steps:
        return missing("steps", entry.unknown)
    return text(_in_words(entry.steps))


def _in_words(steps: Sequence[FusionStep]) -> str:
    return ", then ".join(_STEPS[step] for step in steps)


def _token(entry: ModalityInput) -> Cell:
    """`` (`image_token_index` 32000) ``."""
    if entry.token_key is None or entry.token_id is None:
        return ()
    return concat(text(" ("), code(entry.token_key), text(f" {entry.token_id})"))
