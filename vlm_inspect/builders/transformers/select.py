"""Which class of transformers a configuration means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from vlm_inspect.builders.transformers.missing import broken_import
from vlm_inspect.core import packages
from vlm_inspect.core.errors import NotNativeError

# the auto classes that hold vision-language models, the most telling first; not every version has all
_AUTO_MAPPINGS = (
    "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES",
    "MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES",
    "MODEL_FOR_VISION_2_SEQ_MAPPING_NAMES",
    "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
    "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES",
    "MODEL_MAPPING_NAMES",
)


class Selection(Struct, frozen=True):
    """The classes to build a model from, and what the user should know of the choice."""

    model_class: Any
    config_class: Any
    notes: tuple[str, ...] = ()


def select(config: Mapping[str, Any], model: str) -> Selection:
    """The class that `architectures` names, or else the one that `model_type` stands for.

    Raises NotNativeError where transformers itself has neither.
    """
    model_type = _text(config.get("model_type"))
    architecture = _first_architecture(config)
    stated = _own_class(architecture) if architecture else None
    if stated is not None:
        return _from_architecture(stated, model_type)
    if model_type is None and architecture is None:
        raise NotNativeError(
            "its config.json says neither model_type nor architectures.",
            hint='A config.json says what it is of: {"model_type": "llava", ...}',
            model=model,
            short="unnamed",
        )
    standard = _standard_class(model_type)
    if standard is None:
        raise _not_native(*_why_not(architecture, model_type, config), model)
    if architecture is None:
        note = f"config.json names no architecture; built {standard.__name__}, the class for {model_type!r}."
    elif _letters(architecture) == _letters(standard.__name__):
        note = f"config.json names {architecture}, which transformers calls {standard.__name__}."
    else:
        raise _not_native(
            f"its architecture {architecture} is not one of transformers' own, "
            f"though its model_type {model_type!r} is",
            "foreign class",
            model,
        )
    return Selection(standard, _config_class(model_type) or standard.config_class, (note,))


def version() -> str:
    """The version of transformers that is installed."""
    import transformers

    return str(transformers.__version__)


def unknown_parts(config: Mapping[str, Any], error: BaseException) -> dict[str, str]:
    """The sub-configurations whose type transformers does not have: `vision_config` → its type.

    None where the error does not name one of these types: who looks a type up says that it was not found.
    A class that makes its own parts, whatever type they say, fails for another reason.
    """
    parts = {}
    for name, part in config.items():
        kind = _text(part.get("model_type")) if isinstance(part, Mapping) else None
        if kind is not None and _config_class(kind) is None:
            parts[name] = kind
    return parts if any(kind in str(error) for kind in parts.values()) else {}


def _from_architecture(stated: Any, model_type: str | None) -> Selection:
    own_config = stated.config_class
    typed_config = _config_class(model_type)
    if model_type is None:
        note = f"config.json says no model_type; built {stated.__name__}, the architecture it names."
        return Selection(stated, own_config, (note,))
    if typed_config is None or typed_config is own_config or stated.__name__ in _classes_for(model_type):
        return Selection(stated, typed_config or own_config)
    note = (
        f"config.json says model_type {model_type!r} and architecture {stated.__name__}, which belongs to "
        f"{own_config.model_type!r}; built {stated.__name__}, the class its weights were saved from."
    )
    return Selection(stated, own_config, (note,))


def _why_not(architecture: str | None, model_type: str | None, config: Mapping[str, Any]) -> tuple[str, str]:
    """Why transformers has no class for it: as a clause, and in a few words."""
    named = architecture or f"model_type {model_type!r}"
    if isinstance(config.get("auto_map"), Mapping):
        return f"{named} is code of its own repo, which transformers {version()} does not have", "remote code"
    return f"transformers {version()} has no class for {named}", "unknown type"


def _not_native(why: str, short: str, model: str) -> NotNativeError:
    return NotNativeError(f"{why}.", model=model, short=short)


def _own_class(name: str) -> Any | None:
    """transformers' own model class of that name, or None."""
    import transformers

    if not name.isidentifier():
        return None
    try:
        found = getattr(transformers, name, None)
    except packages.IMPORT_FAULTS as error:  # its module exists and does not import
        raise broken_import(name, error) from error
    is_model = isinstance(found, type) and issubclass(found, transformers.PreTrainedModel)
    return found if is_model and getattr(found, "config_class", None) is not None else None


def _standard_class(model_type: str | None) -> Any | None:
    """The class that transformers' auto classes build for a type."""
    return next((found for name in _classes_for(model_type) if (found := _own_class(name)) is not None), None)


def _classes_for(model_type: str | None) -> Iterator[str]:
    from transformers.models.auto import modeling_auto

    for mapping in _AUTO_MAPPINGS:
        names = getattr(modeling_auto, mapping, {}).get(model_type, ())
        yield from (names,) if isinstance(names, str) else names


def _config_class(model_type: str | None) -> Any | None:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    if model_type not in CONFIG_MAPPING:  # a lazy mapping: its get() imports as [] does
        return None
    return CONFIG_MAPPING[model_type]


def _first_architecture(config: Mapping[str, Any]) -> str | None:
    names = config.get("architectures")
    return _text(names[0]) if isinstance(names, list) and names else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _letters(name: str) -> str:
    """A class name without what spelling it differs in: `Kimi_K25For…` and `KimiK25For…`."""
    return name.replace("_", "").lower()
