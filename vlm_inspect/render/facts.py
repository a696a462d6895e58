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
from collections.abc import Callable, Iterator, Mapping

from msgspec import Struct

from vlm_inspect.architecture import Architecture, Role
from vlm_inspect.render.cells import Cell, link, plain, text
from vlm_inspect.render.comparison import (
    COMPARED,
    language_parameters,
    supports_flash_attention,
    vision_encoder,
)
from vlm_inspect.render.figures import short_count
from vlm_inspect.render.rows import Fact, Row
from vlm_inspect.render.states import NOT_ASKED, NOT_STATED
from vlm_inspect.render.vit import VisionTransformer

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
