"""What a configuration says and the built classes did not read, or built otherwise."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from types import CodeType
from typing import Any

from msgspec import Struct

from vlm_inspect.builders.transformers.config_keys import BuiltValues, Part
from vlm_inspect.core.module_tree import ModuleNode, UnusedConfigKey

Reads = set[tuple[type, str]]
"""Which attributes of which configuration class were read."""

_LONGEST_VALUE = 80
_DEEPEST = 8
# these are the quantiser's and the repository's, whatever is in them
_WHOLE = frozenset({"quantization_config", "quantization", "compression_config", "auto_map", "id2label"})


class _Statement(Struct, frozen=True):
    """A key that no class read, and the configuration that it stands in."""

    path: str
    key: str
    value: Any
    part: Part


@contextmanager
def recorded(base: type) -> Iterator[Reads]:
    """The attributes that classes read of configurations of type `base` inside the block.

    Kept by class and not by object: models build their parts from copies of their configurations.
    """
    reads: Reads = set()
    own: Any = base.__getattribute__

    def read(config: Any, name: str) -> Any:
        reads.add((type(config), name))
        return own(config, name)

    base.__getattribute__ = read  # type: ignore[method-assign,assignment]
    try:
        yield reads
    finally:
        base.__getattribute__ = own  # type: ignore[method-assign]


def unread_keys(
    stated: Mapping[str, Any], resolved: Any, base: type, reads: Reads, root: ModuleNode
) -> tuple[UnusedConfigKey, ...]:
    """The keys of a config.json that nobody read, in its order. A key that is null states nothing."""
    parts = tuple(_parts(resolved, base, ""))
    built = BuiltValues(parts, root)
    judged = ((each, _judged(each, built)) for each in _unread(stated, parts[0], parts, reads))
    return tuple(key for each, key in judged if key.structural or not _is_taken(each, stated, parts))


def declared(config_class: type, base: type) -> frozenset[str]:
    """The keys that a configuration class knows: fields, properties, its constructor's parameters."""
    return _declared(config_class) | _declared(base) | frozenset(_plain(base))


def _parts(config: Any, base: type, path: str) -> Iterator[Part]:
    """A configuration and those inside it, with the keys that each declares."""
    yield Part(path, config, declared(type(config), base))
    if path.count(".") < _DEEPEST:
        for name, value in vars(config).items():
            if isinstance(value, base):
                yield from _parts(value, base, f"{path}.{name}" if path else name)


@cache
def _declared(config_class: type) -> frozenset[str]:
    names = set(dir(config_class))
    for each in config_class.__mro__:
        names.update(vars(each).get("__annotations__", ()))
        constructor = vars(each).get("__init__")
        if inspect.isfunction(constructor):
            names.update(inspect.signature(constructor).parameters)
    aliases = getattr(config_class, "attribute_map", {})
    return frozenset(names | {*aliases, *aliases.values()})


@cache
def _named_by(config_class: type) -> frozenset[str]:
    """The names in the code of a class's methods that take any key: `kwargs.pop("global_head_dim")`."""
    methods = (member for each in config_class.__mro__ for member in vars(each).values())
    codes = (inspect.unwrap(method).__code__ for method in methods if inspect.isfunction(method))
    return frozenset(
        name for code in codes if code.co_flags & inspect.CO_VARKEYWORDS for name in _texts_in(code)
    )


def _texts_in(code: CodeType) -> Iterator[str]:
    for constant in code.co_consts:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, CodeType):
            yield from _texts_in(constant)


@cache
def _plain(base: type) -> tuple[str, ...]:
    """What every configuration has; older classes set it in their constructor alone."""
    return tuple(vars(base()))


@cache
def _set_by(config_class: type) -> Mapping[str, Any]:
    """What a class sets of itself where nothing is stated, keys that it works out among them."""
    try:
        return dict(vars(config_class()))
    except Exception:  # noqa: BLE001 - a class of transformers without defaults: whatever it raises, it sets nothing
        return {}


def _unread(
    stated: Mapping[str, Any], part: Part, parts: tuple[Part, ...], reads: Reads
) -> Iterator[_Statement]:
    for key, value in stated.items():
        path = f"{part.path}.{key}" if part.path else str(key)
        inner = next((each for each in parts if each.path == path), None)
        if value is None or value in ([], {}, ""):
            continue
        if inner is not None and isinstance(value, Mapping):
            yield from _unread(value, inner, parts, reads)
        elif not _is_read(key, part, reads):
            yield from _statements(path, key, value, part)


def _is_read(key: str, part: Part, reads: Reads) -> bool:
    config_class: type = type(part.config)
    if key in part.declared or (config_class, key) in reads or key in _set_by(config_class):
        return True
    # popped by name, and not stored: Gemma 4 makes widths per layer of its global_head_dim
    return key not in vars(part.config) and key in _named_by(config_class)


def _statements(path: str, key: str, value: Any, part: Part) -> Iterator[_Statement]:
    """A key's value, or what it says key by key."""
    if isinstance(value, Mapping) and key not in _WHOLE and path.count(".") < _DEEPEST:
        for name, inner in value.items():
            if inner is not None:
                yield from _statements(f"{path}.{name}", str(name), inner, part)
    else:
        yield _Statement(path, key, value, part)


def _is_taken(statement: _Statement, stated: Mapping[str, Any], parts: tuple[Part, ...]) -> bool:
    """Whether the configuration's class took the key and keeps it elsewhere, or under another name."""
    part = statement.part
    key = statement.path[len(part.path) :].lstrip(".").partition(".")[0]
    return key not in vars(part.config) or (part is parts[0] and _is_handed_on(key, stated, parts))


def _is_handed_on(key: str, stated: Mapping[str, Any], parts: tuple[Part, ...]) -> bool:
    """Whether it is of a part that config.json does not describe, and that was made of its sibling keys."""
    undescribed = (part for part in parts[1:] if key in part.declared and part.path not in stated)
    return any(_is_made_of(part, stated) for part in undescribed)


def _is_made_of(part: Part, stated: Mapping[str, Any]) -> bool:
    """Whether some sibling key of a part shows in it, and is not its default."""
    config_class: type = type(part.config)
    default = _set_by(config_class)
    return any(
        name in stated and stated[name] == known and default.get(name) != known for name, known in part.values
    )


def _judged(statement: _Statement, built: BuiltValues) -> UnusedConfigKey:
    instead = built.instead_of(statement.key, statement.value, statement.part)
    return UnusedConfigKey(
        statement.path, in_short(statement.value), structural=instead is not None, built_instead=instead or ""
    )


def in_short(value: Any) -> str:
    """A value as JSON, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"
