"""Describe every catalogue model and every multimodal type under one transformers, as data.

Run by nox in an environment of its own: `python -m tools.compat.survey answers NEWEST OUTPUT`, where NEWEST
is the file that `types NEWEST` writes under the newest transformers. It imports nothing that the oldest
transformers does not have.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
STATED = ROOT / "tests" / "every_type" / "configs"
"""Complete configurations, for types whose default configuration does not build."""
OVERRIDES = ROOT / "tests" / "compat" / "configs"
"""Keys that replace those or the defaults, for types that some version cannot build without them."""
PACKAGES = ("transformers", "huggingface_hub", "tokenizers", "accelerate", "numpy", "torch")
# the mappings whose types are multimodal; no version has all three
_MAPPINGS = (
    "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES",
    "MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES",
    "MODEL_FOR_VISION_2_SEQ_MAPPING_NAMES",
)

Answer = dict[str, Any]
"""Class, parameters, and for each role the number of components and of their parameters."""


def survey(newest: Mapping[str, str]) -> dict[str, Any]:
    """All answers of the installed transformers, with the versions of its dependencies."""
    return {
        "packages": {name: version(name).partition("+")[0] for name in PACKAGES},
        "models": dict(models()),
        "types": {name: describe_type(name, class_name) for name, class_name in types_here(newest).items()},
    }


def mapped_types() -> dict[str, str]:
    """The multimodal types of the installed transformers, each with the class of its first mapping."""
    from transformers.models.auto import modeling_auto

    found: dict[str, str] = {}
    for mapping in _MAPPINGS:
        for model_type, names in getattr(modeling_auto, mapping, {}).items():
            found.setdefault(model_type, names if isinstance(names, str) else names[0])
    return dict(sorted(found.items()))


def types_here(newest: Mapping[str, str]) -> dict[str, str]:
    """The types to describe: those mapped here, and those that exist here but only newer versions map."""
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    unmapped = {
        model_type: name
        for model_type, name in newest.items()
        if model_type in CONFIG_MAPPING_NAMES and hasattr(transformers, name)
    }
    return dict(sorted({**unmapped, **mapped_types()}.items()))


def describe_type(model_type: str, class_name: str) -> Answer:
    """The answer for a type, or the reason why there is none."""
    return _answer(model_type, lambda: config_of(model_type, class_name), class_name)


def config_of(model_type: str, class_name: str) -> dict[str, Any]:
    """A type's configuration: the complete one or its class's defaults, with the overrides applied."""
    stated, overrides = STATED / f"{model_type}.json", OVERRIDES / f"{model_type}.json"
    config = _read(stated) if stated.exists() else _defaults(model_type, needed=not overrides.exists())
    if overrides.exists():
        config = _merged(config, _read(overrides))
    return {**config, "model_type": model_type, "architectures": [class_name]}


def has_overrides(model_type: str) -> bool:
    """Whether a type's configuration differs here from the one in the tests of every type."""
    return (OVERRIDES / f"{model_type}.json").exists()


def to_answer(architecture: Any) -> Answer:
    """The part of a record that the matrix shows."""
    roles: dict[str, list[int | None]] = {}
    for component in architecture.components:
        count, size = roles.get(component.role.value, [0, 0])
        unknown = size is None or component.parameters is None
        roles[component.role.value] = [(count or 0) + 1, None if unknown else size + component.parameters]
    other = [component for component in architecture.components if component.role.value == "other"]
    answer = {
        "class": architecture.model_class,
        "parameters": architecture.parameters.total,
        "roles": roles,
        "other": {component.paths[0]: component.parameters for component in other},
        "unbuilt": dict(architecture.missing_modules),
    }
    return {name: value for name, value in answer.items() if value not in ({}, None)}


def models() -> Iterator[tuple[str, Answer]]:
    """The name and the answer of each catalogue model."""
    from vlm_inspect.sources import catalogue

    for name in catalogue.names():
        checkpoint = catalogue.load(name)
        if checkpoint is not None:
            config = dict(checkpoint.config)
            yield name, _answer(name, config.copy, str(config["architectures"][0]))


def _answer(name: str, config: Callable[[], dict[str, Any]], class_name: str) -> Answer:
    from vlm_inspect.anatomy.describe import describe
    from vlm_inspect.builders.transformers import build
    from vlm_inspect.core.errors import VlmInspectError
    from vlm_inspect.core.model_ref import ModelIdentity

    try:
        tree = build.build(config(), name)
    except VlmInspectError as error:
        return {"class": class_name, "why_not": error.message}
    return to_answer(describe(tree, ModelIdentity(name, source="local"), "transformers"))


def _defaults(model_type: str, *, needed: bool) -> dict[str, Any]:
    """A configuration class's defaults; some classes raise ValueError without arguments."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    try:
        return dict(CONFIG_MAPPING[model_type]().to_dict())
    except ValueError:
        if needed:
            raise
        return {}


def _merged(config: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge sub-configurations of the same type; replace everything else."""
    merged = dict(config)
    for key, value in above.items():
        below = merged.get(key)
        parts = isinstance(below, dict) and isinstance(value, dict)
        alike = parts and value.get("model_type", below.get("model_type")) == below.get("model_type")
        merged[key] = _merged(below, value) if alike else value
    return merged


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def main() -> None:
    """Write the types or the answers of this environment."""
    logging.getLogger("transformers").setLevel(logging.CRITICAL)
    mode, *files = sys.argv[1:]
    newest, output = Path(files[0]), Path(files[-1])
    data = mapped_types() if mode == "types" else survey(_read(newest))
    output.write_text(json.dumps(data), encoding="utf-8")


if __name__ == "__main__":
    main()
