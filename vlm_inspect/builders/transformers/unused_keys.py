"""Find the keys of a config.json that the built classes did not use."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from msgspec import Struct

from vlm_inspect.builders.transformers.declared_keys import declared_names, defaults, names_in_code
from vlm_inspect.builders.transformers.patches import patched
from vlm_inspect.builders.transformers.structural_keys import BuiltValues, Part, UnusedKey
from vlm_inspect.core.checkpoint import QUANTIZATION_KEYS
from vlm_inspect.core.errors import truncate
from vlm_inspect.core.module_tree import ModuleTree, UnusedConfigKey

Reads = set[tuple[type, str]]
"""Configuration classes, and the attributes of them that were read."""

_LONGEST_VALUE = 80
_DEEPEST = 8
# these are reported as one key: their contents are for quantisers and for the Hub
_WHOLE = frozenset({"quantization_config", "quantization", "compression_config", "auto_map", "id2label"})


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


class UnusedKeys(Struct, frozen=True):
    """The keys of a config.json that no class read, in its order. Keys that are null are ignored."""

    stated: Mapping[str, Any]
    parts: tuple[Part, ...]
    keys: tuple[UnusedKey, ...]

    @classmethod
    def find(cls, stated: Mapping[str, Any], resolved: Any, base: type, reads: Reads) -> UnusedKeys:
        """Compare a config.json with what was read.

        Args:
            stated: The config.json.
            resolved: The configuration as its classes read it.
            base: The base of these classes.
            reads: What was read while the model was built.

        """
        parts = tuple(_parts(resolved, base, reads, ""))
        return cls(stated, parts, tuple(_unread(stated, parts[0], parts)))

    def names_by_class(self) -> dict[type, set[str]]:
        """Return the unused keys and sections of each configuration class; no fact may be taken from them."""
        found: dict[type, set[str]] = {}
        for each in self.keys:
            if each.name not in QUANTIZATION_KEYS:
                found.setdefault(type(each.part.config), set()).add(each.name)
        return found

    def describe(self, tree: ModuleTree) -> tuple[UnusedConfigKey, ...]:
        """Return the keys for the record, with what was built in place of those that are structural."""
        built = BuiltValues(self.parts, self.stated, tree)
        return tuple(filter(None, (self._described(each, built) for each in self.keys)))

    def _described(self, unused: UnusedKey, built: BuiltValues) -> UnusedConfigKey | None:
        instead = built.built_instead(unused)
        if instead is None and _is_used(unused, self.stated, self.parts):
            return None
        text = truncate(json.dumps(unused.value, ensure_ascii=False, default=str), _LONGEST_VALUE)
        return UnusedConfigKey(unused.path, text, instead is not None, instead or "")


def _parts(config: Any, base: type, reads: Reads, path: str) -> Iterator[Part]:
    """A configuration and those inside it, with the keys that each declares."""
    own = frozenset(name for config_class, name in reads if config_class is type(config))
    yield Part(path, config, declared_names(config.__class__, base), own)
    if path.count(".") < _DEEPEST:
        for name, value in vars(config).items():
            if isinstance(value, base):
                yield from _parts(value, base, reads, f"{path}.{name}" if path else name)


def _unread(config: Mapping[str, Any], part: Part, parts: tuple[Part, ...]) -> Iterator[UnusedKey]:
    for key, value in config.items():
        path = f"{part.path}.{key}" if part.path else str(key)
        inner = next((each for each in parts if each.path == path), None)
        if value is None or value in ([], {}, ""):
            continue
        if inner is not None and isinstance(value, Mapping):
            yield from _unread(value, inner, parts)
        elif not _is_read(key, part):
            yield from _nested_keys((str(key),), value, part)


def _is_read(key: str, part: Part) -> bool:
    config_class = part.config.__class__
    if key in part.declared or part.reads(key) or key in defaults(config_class):
        return True
    # popped by name, and not stored: Gemma 4 makes widths per layer of its global_head_dim
    return key not in vars(part.config) and key in names_in_code(config_class)


def _nested_keys(names: tuple[str, ...], value: Any, part: Part) -> Iterator[UnusedKey]:
    if isinstance(value, Mapping) and names[-1] not in _WHOLE and len(names) < _DEEPEST:
        for name, inner in value.items():
            if inner is not None:
                yield from _nested_keys((*names, str(name)), inner, part)
    else:
        yield UnusedKey(part, names, value)


def _is_used(unused: UnusedKey, config: Mapping[str, Any], parts: tuple[Part, ...]) -> bool:
    """Whether the class did use the key: it stores it under another name, or passes it to a part."""
    part, key = unused.part, unused.name
    return key not in vars(part.config) or (part is parts[0] and _is_passed_on(key, config, parts))


def _is_passed_on(key: str, config: Mapping[str, Any], parts: tuple[Part, ...]) -> bool:
    """Whether a part that config.json does not describe was made from flat keys, this one included."""
    return any(  # it has a value of config.json that is not its default
        name in config and config[name] == value and defaults(part.config.__class__).get(name) != value
        for part in parts[1:]
        if key in part.declared and part.path not in config
        for name, value in part.values
    )
