"""Select the class of transformers that a configuration names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from vlm_inspect.builders.config_values import first_architecture
from vlm_inspect.builders.transformers.missing_packages import broken_import
from vlm_inspect.core import packages
from vlm_inspect.core.errors import NotNativeError

# the auto classes that have vision-language models, the most specific first; no version has all of them
_AUTO_MAPPINGS = (
    "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES",
    "MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES",
    "MODEL_FOR_VISION_2_SEQ_MAPPING_NAMES",
    "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
    "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES",
    "MODEL_MAPPING_NAMES",
)


class Selection(Struct, frozen=True):
    """The classes to build a model from, and notes for the user about the choice."""

    model_class: Any
    config_class: Any
    notes: tuple[str, ...] = ()


def select(config: Mapping[str, Any], model: str) -> Selection:
    """Return the class that `architectures` names, or else the auto classes' class for `model_type`.

    Raises NotNativeError if transformers has neither.
    """
    model_type, architecture = _nonempty_text(config.get("model_type")), first_architecture(config)
    named = _model_class(architecture) if architecture else None
    if named is not None:
        return _named_selection(named, model_type)
    if model_type is None and architecture is None and "pretrained_cfg" in config:
        raise NotNativeError(
            f"its config.json is timm's, of the architecture {config.get('architecture')!r}.",
            hint="timm loads it: timm.create_model('hf-hub:org/name'). For its tensors: --builder header",
            model=model,
            short="timm",
        )
    if model_type is None and architecture is None:
        raise NotNativeError(
            "its config.json says neither model_type nor architectures.",
            hint='A config.json names its model: {"model_type": "llava", ...}',
            model=model,
            short="unnamed",
        )
    standard = next(filter(None, map(_model_class, _auto_class_names(model_type))), None)
    if standard is None:
        name = architecture or f"model_type {model_type!r}"
        if isinstance(config.get("auto_map"), Mapping):
            message = f"{name} is code of its own repo, which transformers {version()} does not have."
            raise NotNativeError(message, model=model, short="remote code")
        message = f"transformers {version()} has no class for {name}."
        raise NotNativeError(message, model=model, short="unknown type")
    if architecture is None:
        note = f"config.json names no architecture; built {standard.__name__}, the class for {model_type!r}."
    elif _normalised(architecture) == _normalised(standard.__name__):
        note = f"config.json names {architecture}, which transformers calls {standard.__name__}."
    else:
        raise NotNativeError(
            f"its architecture {architecture} is not one of transformers' own, "
            f"though its model_type {model_type!r} is.",
            model=model,
            short="foreign class",
        )
    return Selection(standard, _config_class(model_type) or standard.config_class, (note,))


def version() -> str:
    """Return the version of transformers that is installed."""
    import transformers

    return str(transformers.__version__)


def unknown_parts(config: Mapping[str, Any], error: BaseException) -> dict[str, str]:
    """Return the sub-configurations whose type transformers does not have: `vision_config` → its type.

    Empty if the error names none of them: a class that ignores these types fails for another reason.
    """
    parts = {name: part for name, part in config.items() if isinstance(part, Mapping)}
    kinds = {name: _nonempty_text(part.get("model_type")) for name, part in parts.items()}
    unknown = {name: kind for name, kind in kinds.items() if kind is not None and _config_class(kind) is None}
    return unknown if any(kind in str(error) for kind in unknown.values()) else {}


def _named_selection(named: Any, model_type: str | None) -> Selection:
    own_config, typed_config = named.config_class, _config_class(model_type)
    if model_type is None:
        note = f"config.json says no model_type; built {named.__name__}, the architecture it names."
    elif typed_config in (None, own_config) or named.__name__ in _auto_class_names(model_type):
        return Selection(named, typed_config or own_config)
    else:
        note = (
            f"config.json says model_type {model_type!r} and architecture {named.__name__}, which belongs to "
            f"{own_config.model_type!r}; built {named.__name__}, the class its weights were saved from."
        )
    return Selection(named, own_config, (note,))


def _model_class(name: str) -> Any | None:
    """transformers' model class of that name, or None."""
    import transformers

    if not name.isidentifier():
        return None
    try:
        found = getattr(transformers, name, None)
    except packages.IMPORT_ERRORS as error:  # its module exists and does not import
        raise broken_import(name, error) from error
    is_model = isinstance(found, type) and issubclass(found, transformers.PreTrainedModel)
    return found if is_model and getattr(found, "config_class", None) is not None else None


def _auto_class_names(model_type: str | None) -> Iterator[str]:
    """The names of the classes that transformers' auto classes build for a type."""
    from transformers.models.auto import modeling_auto

    tasks = (name for name in vars(modeling_auto) if name.startswith("MODEL_FOR_") and name.endswith("_MAPPING_NAMES"))
    # some types have a class for a task alone (ColPali, Depth Anything)
    for mapping in dict.fromkeys((*_AUTO_MAPPINGS, *tasks)):
        names = getattr(modeling_auto, mapping, {}).get(model_type, ())
        yield from (names,) if isinstance(names, str) else names


def _config_class(model_type: str | None) -> Any | None:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    if model_type not in CONFIG_MAPPING:  # a lazy mapping: its get() imports as [] does
        return None
    return CONFIG_MAPPING[model_type]


def _nonempty_text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _normalised(class_name: str) -> str:
    """The same for `Kimi_K25ForConditionalGeneration` and `KimiK25ForConditionalGeneration`."""
    return class_name.replace("_", "").lower()
