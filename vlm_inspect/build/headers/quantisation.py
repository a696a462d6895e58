"""What a configuration says of how its checkpoint was quantised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from vlm_inspect.checkpoint import QUANTISATION_KEYS

_PARTS = ("text_config", "llm_config", "language_config")
_BITS = ("bits", "w_bit", "num_bits", "weight_bits", "nbits")
_GROUPS = ("group_size", "q_group_size", "w_group_size")


class Quantisation(Struct, frozen=True):
    """Bits and group size, and where single modules have others."""

    method: str = ""
    bits: int | None = None
    group_size: int | None = None
    per_module: Mapping[str, Quantisation] = field(default_factory=dict)

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> Quantisation:
        """Read off a configuration; one that says nothing is one without bits."""
        parts = (config, *(part for name in _PARTS if isinstance(part := config.get(name), Mapping)))
        stated = (part.get(key) for part in parts for key in QUANTISATION_KEYS)
        found = next((value for value in stated if isinstance(value, Mapping)), {})
        own = {name: _read(value) for name, value in found.items() if isinstance(value, Mapping)}
        whole = _read(found)
        return cls(whole.method, whole.bits, whole.group_size, own)

    def of(self, module: str) -> Quantisation:
        """What holds for one module."""
        return self.per_module.get(module, self)

    @property
    def named(self) -> str:
        """` (hqq)`, for a sentence; empty where no method is named."""
        return f" ({self.method})" if self.method else ""


def _read(stated: Mapping[str, Any]) -> Quantisation:
    places = [stated, *_groups(stated)]
    method = stated.get("quant_method", stated.get("format"))
    return Quantisation(
        method[:40] if isinstance(method, str) else "", _first(places, _BITS), _first(places, _GROUPS)
    )


def _groups(stated: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """compressed-tensors states it per group of modules: used only where all groups state the same."""
    groups = stated.get("config_groups")
    weights = [
        group.get("weights")
        for group in (groups.values() if isinstance(groups, Mapping) else ())
        if isinstance(group, Mapping)
    ]
    found = [each for each in weights if isinstance(each, Mapping)]
    return found[:1] if len({each.get("num_bits") for each in found if _is_hashable(each)}) == 1 else []


def _is_hashable(weights: Mapping[str, Any]) -> bool:
    return isinstance(weights.get("num_bits"), (int, type(None)))


def _first(places: list[Mapping[str, Any]], names: tuple[str, ...]) -> int | None:
    values = (place.get(name) for place in places for name in names)
    return next((value for value in values if type(value) is int and value > 0), None)
