"""What one transformers answers: every model of the catalogue and every multimodal type that it has.

Run inside an environment, in a process of its own: `python -m tools.support.survey NEWEST OUTPUT`, where
NEWEST is a file with the types of the newest transformers and OUTPUT the file to write. It imports nothing
that the oldest transformers does not have.
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
"""Whole configurations, for types whose class has no defaults that build."""
LAID_OVER = ROOT / "tools" / "support" / "configs"
"""Keys laid over those or over the defaults, for types that some version cannot build without them."""
PACKAGES = ("transformers", "huggingface_hub", "tokenizers", "accelerate", "numpy", "torch")
# the mappings that make a type a multimodal one; no version has all three
_MAPPINGS = (
    "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES",
    "MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES",
    "MODEL_FOR_VISION_2_SEQ_MAPPING_NAMES",
)

Answer = dict[str, Any]
"""The class, the parameters, and by role how many parts there are and how many parameters they own."""


def survey(newest: Mapping[str, str]) -> dict[str, Any]:
    """The answers of the installed transformers, with the versions of what it stands on."""
    return {
        "packages": {name: version(name).partition("+")[0] for name in PACKAGES},
        "models": dict(models()),
        "types": {name: answer_to_type(name, kind) for name, kind in types_here(newest).items()},
    }


def mapped_types() -> dict[str, str]:
    """The multimodal types that the installed transformers maps, each with the class of its first mapping."""
    from transformers.models.auto import modeling_auto

    found: dict[str, str] = {}
    for mapping in _MAPPINGS:
        for model_type, names in getattr(modeling_auto, mapping, {}).items():
            found.setdefault(model_type, names if isinstance(names, str) else names[0])
    return dict(sorted(found.items()))


def types_here(newest: Mapping[str, str]) -> dict[str, str]:
    """The types to ask for: those that this version maps, and those that it has and only newer ones map."""
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    unmapped = {
        model_type: name
        for model_type, name in newest.items()
        if model_type in CONFIG_MAPPING_NAMES and hasattr(transformers, name)
    }
    return dict(sorted({**unmapped, **mapped_types()}.items()))


def answer_to_type(model_type: str, class_name: str) -> Answer:
    """What is told of a type, or why nothing is."""
    return _answer(model_type, lambda: config_of(model_type, class_name), class_name)


def config_of(model_type: str, class_name: str) -> dict[str, Any]:
    """The configuration of a type: stated, or else its class's defaults; over it what is laid over."""
    stated, laid_over = STATED / f"{model_type}.json", LAID_OVER / f"{model_type}.json"
    config = _read(stated) if stated.exists() else _defaults(model_type, needed=not laid_over.exists())
    if laid_over.exists():
        config = _merged(config, _read(laid_over))
    return {**config, "model_type": model_type, "architectures": [class_name]}


def is_laid_over(model_type: str) -> bool:
    """Whether a type's configuration is another one here than in the tests of every type."""
    return (LAID_OVER / f"{model_type}.json").exists()


def told(architecture: Any) -> Answer:
    """What the matrix keeps of a record."""
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
    """What is told of each model of the catalogue."""
    from vlm_inspect.sources import catalogue

    for name in catalogue.names():
        checkpoint = catalogue.load(name)
        if checkpoint is not None:
            config = dict(checkpoint.config)
            yield name, _answer(name, config.copy, str(config["architectures"][0]))


def _answer(name: str, config: Callable[[], dict[str, Any]], class_name: str) -> Answer:
    from vlm_inspect.anatomy import describe
    from vlm_inspect.build import native
    from vlm_inspect.errors import VlmInspectError
    from vlm_inspect.ref import ModelIdentity

    try:
        tree = native.build(config(), name)
    except VlmInspectError as error:
        return {"class": class_name, "why_not": error.message}
    return told(describe(tree, ModelIdentity(name, source="local"), "transformers"))


def _defaults(model_type: str, *, needed: bool) -> dict[str, Any]:
    """What a configuration class holds when it is given nothing; some take nothing only with an error."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    try:
        return dict(CONFIG_MAPPING[model_type]().to_dict())
    except ValueError:
        if needed:
            raise
        return {}


def _merged(config: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Part by part, except a part of another type, which is another thing."""
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
    """Write the answers of this environment."""
    logging.getLogger("transformers").setLevel(logging.CRITICAL)
    newest, output = map(Path, sys.argv[1:])
    output.write_text(json.dumps(survey(_read(newest))), encoding="utf-8")


if __name__ == "__main__":
    main()
