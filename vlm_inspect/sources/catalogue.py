"""The built-in catalogue: models that need no Hub, a TOML file each."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cache
from typing import TYPE_CHECKING, Any

from vlm_inspect.core.model_ref import ModelIdentity

if TYPE_CHECKING:  # names and facts need none of these
    from vlm_inspect.core.checkpoint import Checkpoint, DeclaredClasses, TensorHeaders
    from vlm_inspect.core.module_tree import Shape

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]

# In the order of the tables. The data of org/name is in catalogue_data/org__name.toml.
_NAMES = (
    "TIGER-Lab/Mantis-8B-clip-llama3",
    "TIGER-Lab/Mantis-8B-siglip-llama3",
    "llava-hf/llava-1.5-7b-hf",
    "microsoft/Phi-3-vision-128k-instruct",
    "llava-hf/llava-v1.6-mistral-7b-hf",
    "llava-hf/llava-v1.6-vicuna-7b-hf",
    "HuggingFaceM4/idefics2-8b-base",
    "HuggingFaceM4/idefics2-8b",
    "HuggingFaceM4/idefics2-8b-chatty",
)

_BYTES = {"BF16": 2, "F16": 2, "F32": 4}
_RANGE = re.compile(r"(?<=\.)(\d+)-(\d+)(?=\.)")


def names() -> tuple[str, ...]:
    """The models of the catalogue, in the order of the tables."""
    return _NAMES


def load(name: str) -> Checkpoint | None:
    """Load a model's configuration; None if the catalogue does not have the model."""
    from vlm_inspect.core.checkpoint import Checkpoint

    entry = _entry(name)
    if entry is None:
        return None
    return Checkpoint(ModelIdentity(id=entry["id"], source="catalogue"), _config(entry))


def facts(name: str) -> Mapping[str, str | bool]:
    """Facts that the authors state and no module tree shows; empty if the model is not in the catalogue."""
    entry = _entry(name)
    return dict(entry["facts"]) if entry else {}


def headers(name: str) -> TensorHeaders | None:
    """The safetensors headers of the model's checkpoint; None if the catalogue does not have them."""
    from vlm_inspect.core.checkpoint import TensorHeaders, TensorInfo

    entry = _entry(name)
    if entry is None or "headers" not in entry:
        return None
    dtype = entry["headers"]["dtype"]
    shapes = sorted(_tensor_shapes(entry["headers"]["shapes"]))
    return TensorHeaders(
        tuple(TensorInfo(name, dtype, shape, math.prod(shape) * _BYTES[dtype]) for name, shape in shapes)
    )


def declared_classes(name: str) -> DeclaredClasses | None:
    """The classes of the repository's own code; None if the catalogue does not have them."""
    from vlm_inspect.core.checkpoint import DeclaredClasses

    entry = _entry(name)
    if entry is None or "code" not in entry:
        return None
    supports = entry["code"].get("supports")
    return DeclaredClasses(entry["code"]["classes"], None if supports is None else tuple(supports))


def _tensor_shapes(shapes: Mapping[str, list[int]]) -> Iterator[tuple[str, Shape]]:
    """The shape of each tensor. `layers.0-31.norm.weight` stands for 32 tensors."""
    for folded, sides in shapes.items():
        numbers = _RANGE.search(folded)
        for number in range(int(numbers[1]), int(numbers[2]) + 1) if numbers else [0]:
            yield _RANGE.sub(str(number), folded, count=1), tuple(sides)


def _entry(name: str) -> dict[str, Any] | None:
    """The content of a model's file. As on the Hub, the case of the name does not matter."""
    found = name if name in _NAMES else {known.casefold(): known for known in _NAMES}.get(name.casefold())
    return _read_entry(found) if found else None


@cache
def _read_entry(name: str) -> dict[str, Any]:
    from importlib import resources

    file = resources.files("vlm_inspect.sources") / "catalogue_data" / f"{name.replace('/', '__')}.toml"
    entry: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    return entry


def _config(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with its nulls: TOML has none, so the file lists their paths."""
    config: dict[str, Any] = deepcopy(entry["config"])  # the entry is cached
    for path in entry.get("nulls", ()):
        *parents, key = path.split(".")
        place = config
        for parent in parents:
            place = place[parent]
        place[key] = None
    return config
