"""Find the keys of a config.json that the built classes did not use."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from types import CodeType
from typing import Any

from msgspec import Struct

from vlm_inspect.builders.transformers.patches import patched
from vlm_inspect.builders.transformers.structural_keys import BuiltValues, Part
from vlm_inspect.core.errors import truncate
from vlm_inspect.core.module_tree import ModuleNode, UnusedConfigKey

Reads = set[tuple[type, str]]
"""Configuration classes, and the attributes of them that were read."""

_LONGEST_VALUE = 80
_DEEPEST = 8
# these are reported as one key: their contents are for quantisers and for the Hub
_WHOLE = frozenset({"quantization_config", "quantization", "compression_config", "auto_map", "id2label"})


class _UnusedKey(Struct, frozen=True):
    """A key that no class read, and the configuration that holds it."""

    path: str
    key: str
    value: Any
    part: Part


@contextmanager
def recorded_reads(base: type) -> Iterator[Reads]:
    """Record which attributes of configurations of type `base` are read inside the block.

    By class and not by object: models build their parts from copies of their configurations.
    """
    reads: Reads = set()
    own: Any = base.__getattribute__

    def read(config: Any, name: str) -> Any:
        reads.add((type(config), name))
        return own(config, name)

    with patched(base, "__getattribute__", read):
        yield reads


def unused_keys(
    config: Mapping[str, Any], resolved: Any, base: type, reads: Reads, root: ModuleNode
) -> tuple[UnusedConfigKey, ...]:
    """Return the keys of a config.json that no class used, in its order. Keys that are null are ignored.

    `resolved` is the configuration as its classes read it, `base` the base of these classes.
    """
    parts = tuple(_parts(resolved, base, ""))
    built = BuiltValues(parts, root)
    found = []
    for each in _unread(config, parts[0], parts, reads):
        instead = built.built_instead(each.key, each.value, each.part)
        if instead is not None or not _is_used(each, config, parts):
            text = truncate(json.dumps(each.value, ensure_ascii=False, default=str), _LONGEST_VALUE)
            found.append(UnusedConfigKey(each.path, text, instead is not None, instead or ""))
    return tuple(found)


def _parts(config: Any, base: type, path: str) -> Iterator[Part]:
    """A configuration and those inside it, with the keys that each declares."""
    yield Part(path, config, _declared(config.__class__, base))
    if path.count(".") < _DEEPEST:
        for name, value in vars(config).items():
            if isinstance(value, base):
                yield from _parts(value, base, f"{path}.{name}" if path else name)


@cache
def _declared(config_class: type, base: type) -> frozenset[str]:
    """The keys that a configuration class knows: fields, properties, its constructors' parameters."""
    names = {*dir(config_class), *vars(base())}  # older classes set the base's keys only in its constructor
    for each in config_class.__mro__:
        names.update(vars(each).get("__annotations__", ()))
        constructor = vars(each).get("__init__")
        if inspect.isfunction(constructor):
            names.update(inspect.signature(constructor).parameters)
    aliases = getattr(config_class, "attribute_map", {})
    return frozenset(names | {*aliases, *aliases.values()})


@cache
def _names_in_code(config_class: type) -> frozenset[str]:
    """The texts in the methods that take any key: `kwargs.pop("global_head_dim")`."""
    methods = (member for each in config_class.__mro__ for member in vars(each).values())
    codes = (inspect.unwrap(method).__code__ for method in methods if inspect.isfunction(method))
    return frozenset(
        name for code in codes if code.co_flags & inspect.CO_VARKEYWORDS for name in _text_constants(code)
    )


def _text_constants(code: CodeType) -> Iterator[str]:
    for constant in code.co_consts:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, CodeType):
            yield from _text_constants(constant)


@cache
def _defaults(config_class: type) -> Mapping[str, Any]:
    """The attributes of a configuration made without arguments, including those that the class computes."""
    try:
        return dict(vars(config_class()))
    except Exception:  # noqa: BLE001 - the class needs arguments: it has no defaults, whatever it raises
        return {}


def _unread(config: Mapping[str, Any], part: Part, parts: tuple[Part, ...], reads: Reads) -> Iterator[_UnusedKey]:
    for key, value in config.items():
        path = f"{part.path}.{key}" if part.path else str(key)
        inner = next((each for each in parts if each.path == path), None)
        if value is None or value in ([], {}, ""):
            continue
        if inner is not None and isinstance(value, Mapping):
            yield from _unread(value, inner, parts, reads)
        elif not _is_read(key, part, reads):
            yield from _nested_keys(path, key, value, part)


def _is_read(key: str, part: Part, reads: Reads) -> bool:
    config_class = part.config.__class__
    if key in part.declared or (config_class, key) in reads or key in _defaults(config_class):
        return True
    # popped by name, and not stored: Gemma 4 makes widths per layer of its global_head_dim
    return key not in vars(part.config) and key in _names_in_code(config_class)


def _nested_keys(path: str, key: str, value: Any, part: Part) -> Iterator[_UnusedKey]:
    if isinstance(value, Mapping) and key not in _WHOLE and path.count(".") < _DEEPEST:
        for name, inner in value.items():
            if inner is not None:
                yield from _nested_keys(f"{path}.{name}", str(name), inner, part)
    else:
        yield _UnusedKey(path, key, value, part)


def _is_used(unused: _UnusedKey, config: Mapping[str, Any], parts: tuple[Part, ...]) -> bool:
    """Whether the class did use the key: it stores it under another name, or passes it to a part."""
    part = unused.part
    key = unused.path[len(part.path) :].lstrip(".").partition(".")[0]
    return key not in vars(part.config) or (part is parts[0] and _is_passed_on(key, config, parts))


def _is_passed_on(key: str, config: Mapping[str, Any], parts: tuple[Part, ...]) -> bool:
    """Whether a part that config.json does not describe was made from flat keys, this one included."""
    return any(  # it has a value of config.json that is not its default
        name in config and config[name] == value and _defaults(part.config.__class__).get(name) != value
        for part in parts[1:]
        if key in part.declared and part.path not in config
        for name, value in part.values
    )
