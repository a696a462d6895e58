"""The path that transformers' loader gives a checkpoint's key, and the one that PEFT gives it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vlm_inspect.errors import UnverifiableError

# what PEFT puts before every path of the model that it wraps
_WRAPPED = "base_model.model."


def require_renames(model: str) -> None:
    """Raise UnverifiableError where this transformers has another loader than the one that is read here."""
    import transformers

    try:
        from transformers.conversion_mapping import get_model_conversion_mapping  # noqa: F401
        from transformers.core_model_loading import rename_source_key  # noqa: F401
    except ImportError:
        raise UnverifiableError(
            f"transformers {transformers.__version__} does not say how it renames a checkpoint's keys.",
            hint="Install transformers 5.5 or later.",
            model=model,
        ) from None


def renamed(
    live: Any, state: Mapping[str, Any], keys: Iterable[str]
) -> tuple[dict[str, str], frozenset[str]]:
    """The path that the loader gives each key, and the keys that are converted besides."""
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

    transforms = get_model_conversion_mapping(live)
    renamings = [each for each in transforms if isinstance(each, WeightRenaming)]
    converters = [each for each in transforms if isinstance(each, WeightConverter)]
    prefix = live.base_model_prefix
    paths, converted = {}, set()
    for key in keys:
        path, pattern = rename_source_key(key, renamings, converters, prefix, state)
        if path not in state and key in state:  # as the loader: what has a name of the model's keeps it
            path, pattern = rename_source_key(key, [], [], prefix, state)
        paths[key] = path
        if pattern is not None:
            converted.add(key)
    return paths, frozenset(converted)


def renamed_by_peft(live: Any, keys: Iterable[str]) -> dict[str, str]:
    """The path that PEFT gives each key of a LoRA, since its 0.19: the loader's, where the type has renames.

    It leaves alone the keys of a type whose renames are those of its classes, and a key that is the end of
    what it would become, with what it wraps around a model before it
    (peft.utils.transformers_weight_conversion.convert_peft_adapter_state_dict_for_transformers).
    """
    from transformers.conversion_mapping import (
        get_checkpoint_conversion_mapping,
        get_model_conversion_mapping,
    )
    from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

    if get_checkpoint_conversion_mapping(live.config.model_type) is None:
        return {key: key for key in keys}
    transforms = get_model_conversion_mapping(live)
    renamings = [each for each in transforms if isinstance(each, WeightRenaming)]
    converters = [each for each in transforms if isinstance(each, WeightConverter)]
    paths = {key: rename_source_key(key, renamings, converters)[0] for key in keys}
    return {key: key if f"{_WRAPPED}{key}".endswith(path) else path for key, path in paths.items()}
