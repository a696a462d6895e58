"""Find which keys of a config.json the configuration classes of a model take.

A key may be a field or a constructor's parameter, be renamed, be popped from the other arguments, or be computed by
the class. Only such a key can change what is built.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from types import CodeType
from typing import Any

_PROBES = (16, 32)  # sizes that most classes accept


def takes(config_class: type, path: str, config: Mapping[str, Any], base: type) -> bool:
    """Whether a class takes the key at a path of a config.json: `text_config.num_hidden_layers`.

    Args:
        config_class: The class of the whole configuration.
        path: The names of the sections and of the key, joined by dots.
        config: The config.json, of which the types of the sections are read.
        base: The base class of all configurations.

    """
    *sections, key = path.split(".")
    part: Any = config
    for name in sections:
        part = part.get(name)
        if name not in names_of(config_class, base):
            return False
        found = _section_class(config_class, name, part, base)
        if found is None:
            return True  # a plain dictionary, which the class takes whole
        config_class = found
    return key in names_of(config_class, base) or _passes_on(config_class, key, part, base)


@cache
def names_of(config_class: type, base: type) -> frozenset[str]:
    """Return the names of all keys that a configuration class takes."""
    return declared_names(config_class, base) | names_in_code(config_class) | defaults(config_class).keys()


@cache
def declared_names(config_class: type, base: type) -> frozenset[str]:
    """Return the keys that a configuration class declares: fields, properties, its constructors' parameters."""
    names = {*dir(config_class), *vars(base())}  # older classes set the base's keys only in its constructor
    for each in config_class.__mro__:
        names.update(vars(each).get("__annotations__", ()))
        constructor = vars(each).get("__init__")
        if inspect.isfunction(constructor):
            names.update(inspect.signature(constructor).parameters)
    aliases = getattr(config_class, "attribute_map", {})
    return frozenset(names | {*aliases, *aliases.values()})


@cache
def names_in_code(config_class: type) -> frozenset[str]:
    """Return the texts in the methods that take any key: `kwargs.pop("global_head_dim")`."""
    methods = (member for each in config_class.__mro__ for member in vars(each).values())
    codes = (inspect.unwrap(method).__code__ for method in methods if inspect.isfunction(method))
    return frozenset(
        name for code in codes if code.co_flags & inspect.CO_VARKEYWORDS for name in _text_constants(code)
    )


@cache
def defaults(config_class: type) -> Mapping[str, Any]:
    """Return the attributes of a configuration made without arguments, and those that the class computes."""
    try:
        return dict(vars(config_class()))
    except Exception:  # noqa: BLE001 - the class needs arguments: it has no defaults, whatever it raises
        return {}


def _text_constants(code: CodeType) -> Iterator[str]:
    for constant in code.co_consts:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, CodeType):
            yield from _text_constants(constant)


def _passes_on(config_class: type, key: str, section: Mapping[str, Any], base: type) -> bool:
    """Whether a class makes a part that is not described of the keys around it, this one included."""
    parts = [name for name, value in defaults(config_class).items() if isinstance(value, base) and name not in section]
    owners = [name for name in parts if key in names_of(defaults(config_class)[name].__class__, base)]
    try:
        return any(
            all(getattr(getattr(config_class(**{key: size}), name), key) == size for size in _PROBES)
            for name in owners
        )
    except Exception:  # noqa: BLE001 - the class, which may raise anything, does read the key
        return True


def _section_class(config_class: type, name: str, section: Any, base: type) -> type | None:
    """The class of a section: the only one that its owner has, or else that of its type, or of the default."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    if not isinstance(section, Mapping):
        return None
    listed = getattr(config_class, "sub_configs", {}).get(name)
    if isinstance(listed, type) and issubclass(listed, base):
        return listed
    model_type = section.get("model_type")
    if isinstance(model_type, str) and model_type in CONFIG_MAPPING:
        found: type = CONFIG_MAPPING[model_type]
        return found
    default = defaults(config_class).get(name)
    return type(default) if isinstance(default, base) else None
