"""Checkpoints whose weights are stored packed: their tensors are not those of the built model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vlm_inspect.checkpoint import QUANTISATION_KEYS
from vlm_inspect.errors import UnverifiableError

_DEEPEST = 3


def quantisation(config: Mapping[str, Any]) -> str | None:
    """How a configuration says that its weights are packed (`gptq`, `fp8`); None where it says nothing."""
    stated = next(_stated(config, _DEEPEST), None)
    if stated is None:
        return None
    method = stated.get("quant_method") or stated.get("quant_algo") or stated.get("mode")
    if isinstance(method, str) and method.isprintable():
        return method[:40]
    return "MLX" if {"group_size", "bits"} <= stated.keys() else "of an unnamed kind"


def refuse_quantised(config: Mapping[str, Any], model: str) -> None:
    """Raise UnverifiableError for a configuration of packed weights."""
    method = quantisation(config)
    if method is not None:
        raise UnverifiableError(
            f"{model}: its weights are quantised ({method}), so its tensors have other names and shapes than "
            "those of the model that transformers builds: which modules are replaced, and by what, is up to "
            "the package that unpacks them.",
            hint="Verify the model that it was quantised from.",
            model=model,
        )


def _stated(config: Mapping[str, Any], depth: int) -> Iterator[Mapping[str, Any]]:
    yield from (part for key in QUANTISATION_KEYS if isinstance(part := config.get(key), Mapping) and part)
    for part in config.values():
        if isinstance(part, Mapping) and depth:
            yield from _stated(part, depth - 1)
