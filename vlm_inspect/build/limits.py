"""Configurations that are refused before anything is built from them.

A class takes what it is given: a billion layers are built until memory ends, and minus one is built as
none. The limits lie far above any published model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from vlm_inspect.errors import UnbuildableConfigError

MOST_LAYERS = 10_000
"""Layers, blocks or experts that one number of a configuration may ask for."""
LARGEST_SIZE = 10**9
"""Any other size: a vocabulary, a width, an image's side."""

_REPEATED = re.compile(r"(^n_layer|layers|^depth|_depth|depths|blocks|experts)$")
_SIZES = re.compile(r"(_size|_dim|_heads|_width|_channels)$")
# names of places among the layers, which may be counted from the end
_PLACES = re.compile(r"(feature|select|index|indices|indexes)")


def check_sizes(config: Mapping[str, Any], model: str) -> None:
    """Raises UnbuildableConfigError for a size that is no size, or beyond any model."""
    for key, value in _numbers(config):
        name = key.rpartition(".")[2]
        if _REPEATED.search(name):
            _check(key, value, MOST_LAYERS, model)
        elif _SIZES.search(name):
            _check(key, value, LARGEST_SIZE, model)


def _numbers(data: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf under a name, nested configurations and lists included."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            yield from _numbers(value, f"{path}.{key}" if path else str(key))
    elif isinstance(data, list):
        for value in data:
            yield from _numbers(value, path)
    else:
        yield path, data


def _check(key: str, value: Any, most: int, model: str) -> None:
    if isinstance(value, str) and value.strip().lstrip("-").isdigit():
        raise _refused(f"{key} is the text {value!r}, and should be a number", model)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return
    # a size of -1 is a common way to say "none"; a class that cannot take it says so itself
    if value < 0 and most == MOST_LAYERS and not _PLACES.search(key):
        raise _refused(f"{key} is {value}, and cannot be negative", model)
    if value > most:
        raise _refused(f"{key} is {value:,}, and the limit is {most:,}", model)


def _refused(what: str, model: str) -> UnbuildableConfigError:
    return UnbuildableConfigError(
        f"the configuration was refused: {what}.",
        hint="Correct that value in the model's config.json.",
        model=model,
    )
