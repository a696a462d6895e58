"""Values of a config.json that more than one builder reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vlm_inspect.core.checkpoint import QUANTIZATION_KEYS

TEXT_PARTS = ("text_config", "llm_config", "language_config", "decoder", "thinker_config")
"""The keys under which configurations hold the language model's part."""
_TIE = "tie_word_embeddings"


def flat_values(config: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the path and value of every key, including those of nested configurations."""
    for key, value in config.items():
        inner = f"{path}.{key}" if path else str(key)
        yield inner, value
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, Mapping):
                yield from flat_values(part, inner)


def tie_settings(config: Mapping[str, Any]) -> dict[str, bool]:
    """Return `tie_word_embeddings` by path, at the top and in the language model's part.

    A vision tower's is ignored: a tower has no head.
    """
    parts = {"": config, **{f"{name}.": config.get(name) for name in TEXT_PARTS}}
    found = {prefix + _TIE: part.get(_TIE) for prefix, part in parts.items() if isinstance(part, Mapping)}
    return {path: value for path, value in found.items() if isinstance(value, bool)}


def quantization_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the outermost quantization configuration; empty if there is none."""
    found = [
        (path, value)
        for path, value in flat_values(config)
        if path.rpartition(".")[2] in QUANTIZATION_KEYS and isinstance(value, Mapping) and value
    ]
    return min(found, key=lambda item: item[0].count("."), default=("", {}))[1]


def first_architecture(config: Mapping[str, Any]) -> str | None:
    """Return the first of `architectures`, if it is a text."""
    names = config.get("architectures")
    return (names[0] or None) if isinstance(names, list) and names and isinstance(names[0], str) else None


def first_size(config: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    """Return the value of the first of these keys that holds a positive integer."""
    values = (config.get(name) for name in names)
    return next((value for value in values if type(value) is int and value > 0), None)


def is_number(value: object) -> bool:
    """Whether a value is a number; booleans are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
