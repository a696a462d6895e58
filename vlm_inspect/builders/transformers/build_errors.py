"""The error for a configuration that transformers' own class does not build.

A class raises whatever its code meets: the error names a field without its section, or only the value. The
config.json has the path of the key, and the user needs it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from vlm_inspect.builders.config_limits import quoted_numbers, quoted_sizes
from vlm_inspect.builders.config_values import flat_values
from vlm_inspect.builders.transformers import select
from vlm_inspect.core import errors

_LONGEST_VALUE = 80


def build_error(
    selected: select.Selection,
    config: Mapping[str, Any],
    error: Exception,
    model: str,
    takes: Callable[[str], bool],
) -> errors.BuildError:
    """Return the error for the user.

    Args:
        selected: The classes that were to be built.
        config: The config.json.
        error: What the class raised.
        model: The model's id.
        takes: Whether the configuration's class takes the key at a path.

    Returns:
        NotNativeError if a part is of a type that transformers does not have, else UnbuildableConfigError.

    """
    unknown = select.unknown_parts(config, error)
    if unknown:
        named = " and ".join(f"{part} is of type {kind!r}" for part, kind in unknown.items())
        return errors.NotNativeError(
            f"its {named}, which transformers {select.version()} does not have.",
            model=model,
            short="unknown sub-config",
        )
    texts = quoted_numbers(config) if isinstance(error, TypeError) and "'str'" in str(error) else ()
    quoted = next(((path, value) for path, value in (*quoted_sizes(config), *texts) if takes(path)), None)
    if quoted is not None:
        path, value = quoted
        what = f"the configuration was refused: {path} is the text {value[:40]!r}, and should be a number."
        return errors.UnbuildableConfigError(
            what, hint=f"In the model's config.json, write {value.strip()[:40]} without quotes.", model=model
        )
    return _explained(selected.model_class.__name__, config, error, model, takes)


def _explained(
    name: str, config: Mapping[str, Any], error: Exception, model: str, takes: Callable[[str], bool]
) -> errors.UnbuildableConfigError:
    """The class's own error, with the path and the value of the key that it is about."""
    start, what = f"{name} cannot be built from this config.json", errors.typed_error_text(error)
    path, value = next(((path, value) for path, value in _causes(config, error) if takes(path)), ("", None))
    if not path:
        hint = "Check the values in the message; a newer transformers may know newer keys."
        return errors.UnbuildableConfigError(f"{start}: {what}", hint=hint, model=model)
    text = errors.truncate(json.dumps(value, ensure_ascii=False, default=str), _LONGEST_VALUE)
    why = ", which it does not know." if isinstance(error, KeyError) else f": {what}"
    return errors.UnbuildableConfigError(f"{start}: {path} is {text}{why}", hint=_hint(path, value), model=model)


def _causes(config: Mapping[str, Any], error: Exception) -> Iterator[tuple[str, Any]]:
    """The keys whose value is not in a table, or whose name and value are in the error's text."""
    text = str(error)
    for path, value in flat_values(config):
        if isinstance(error, KeyError):
            yield from ((path, each) for each in _texts(value) if error.args == (each,))
        elif f"'{path.rpartition('.')[2]}'" in text and str(value) in text:
            yield path, value


def _texts(value: Any) -> list[str]:
    return [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str)]


def _hint(path: str, value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return f"In the model's config.json, write {value:.0f} for {path}."
    if isinstance(value, str) and "act" in path.rpartition(".")[2]:
        return "transformers.activations.ACT2FN has the names that it knows, for example gelu, silu and relu."
    return f"Correct {path} in the model's config.json."
