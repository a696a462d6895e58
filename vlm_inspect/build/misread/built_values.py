"""What was built, as far as a configuration's keys can be compared with it."""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any

from msgspec import Struct

from vlm_inspect.build.misread import config_keys
from vlm_inspect.tree import ModuleNode

# an image has three, whatever a configuration calls them
_COLOURS = 3


class Part(Struct, frozen=True, dict=True):
    """A configuration as the classes read it, and the keys that its class declares."""

    path: str
    config: Any
    declared: frozenset[str]

    @cached_property
    def values(self) -> tuple[tuple[str, Any], ...]:
        """What its class read, by key. Made once: it is looked through for every key that was not read."""
        return tuple((key, value) for key, value in vars(self.config).items() if key in self.declared)

    @property
    def is_text(self) -> bool:
        """Whether it is of what reads and writes tokens: the only part with a vocabulary."""
        return "vocab_size" in vars(self.config) and "vocab_size" in self.declared

    def says(self, key: str) -> str:
        """`text_config.hidden_size 4096`."""
        path = f"{self.path}.{key}" if self.path else key
        return f"{path} {json.dumps(vars(self.config)[key], default=str)}"


class BuiltValues(Struct, frozen=True, dict=True):
    """The resolved configurations of a model, the whole one first, and its modules."""

    parts: tuple[Part, ...]
    root: ModuleNode

    def instead_of(self, key: str, value: Any, part: Part) -> str | None:
        """What was built where an unread key states something else.

        None where the key states no structure, or what was built has it; empty where nothing built is of
        that name.
        """
        if isinstance(value, str):
            return "" if config_keys.names_a_part(key) else None
        if not _is_structure(key, value):
            return None
        namesakes = [each for each in self._near(part) if each is not part and key in dict(each.values)]
        if any(_equal(vars(each.config)[key], value) for each in namesakes):
            return None
        texts = [each for each in namesakes if each.is_text]
        if texts and not part.is_text:
            return texts[0].says(key)
        if config_keys.quantity(key) == "vocabulary" and not any(each.is_text for each in self._near(part)):
            return None  # a tower's vocabulary is its pretraining's
        return None if self._has(key, value, part) else self._akin(key, value, part)

    def _near(self, part: Part) -> list[Part]:
        """The configuration itself and those inside it."""
        prefix = f"{part.path}." if part.path else ""
        return [each for each in self.parts if each is part or each.path.startswith(prefix)]

    def _spoken_of(self, key: str, part: Part) -> list[Part]:
        """Where what a key speaks of may be stated: nearby, or in the part that its name names."""
        found = frozenset(config_keys.words(key))
        near = self._near(part)
        named = [
            each
            for each in self.parts
            if each not in near
            and found & (config_keys.TEXT_WORDS if each.is_text else config_keys.VISION_WORDS)
        ]
        return [*near, *named]

    def _has(self, key: str, value: Any, part: Part) -> bool:
        """Whether what was built has that very value of that very quantity, under whatever name."""
        of = config_keys.quantity(key)
        stated = [
            (name, known)
            for each in self._spoken_of(key, part)
            for name, known in each.values
            if config_keys.quantity(name) == of
        ]
        if any(_equal(known, value) for _, known in stated):
            return True
        contradicted = any(config_keys.core(name) == config_keys.core(key) for name, _ in stated)
        return not contradicted and not _is_list(value) and self._is_a_side(of, value)

    def _is_a_side(self, of: config_keys.Quantity | None, value: Any) -> bool:
        """Whether a parameter is as wide; of patches that are flattened, as wide as all their pixels."""
        if of not in config_keys.SHOWN_BY_SHAPES:
            return False
        patch = of == "patch" and value * value * _COLOURS in self._sides
        return patch or value in self._sides or value == _COLOURS

    @cached_property
    def _sides(self) -> frozenset[int]:
        return _sides(self.root)

    def _akin(self, key: str, value: Any, part: Part) -> str:
        """What was built under another spelling of the name, or else as the only one of its quantity.

        Empty where there is no such thing.
        """
        of = config_keys.quantity(key)
        alike = [
            (each, name)
            for each in self._spoken_of(key, part)
            for name, known in each.values
            if known is not None and _is_list(known) == _is_list(value) and config_keys.quantity(name) == of
        ]
        same = [(each, name) for each, name in alike if config_keys.core(name) == config_keys.core(key)]
        counterparts = same[:1] or (alike if len(alike) == 1 else [])
        return next((each.says(name) for each, name in counterparts), "")


def _is_structure(key: str, value: Any) -> bool:
    if isinstance(value, list):
        numbers = all(_is_number(item) for item in value)
        return config_keys.quantity(key) is not None if numbers else config_keys.is_pattern(key)
    # a switch states no size, and a class may do the same without it (GLM-4.1V's attention_bias)
    return _is_number(value) and bool(value) and config_keys.quantity(key) is not None


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _equal(known: Any, value: Any) -> bool:
    return bool((list(known) if isinstance(known, tuple) else known) == value)


def _sides(root: ModuleNode) -> frozenset[int]:
    """Every side of every parameter."""
    seen: dict[int, ModuleNode] = {}
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node) not in seen:
            seen[id(node)] = node
            waiting += [child for _, child in node.children]
    return frozenset(side for node in seen.values() for _, shape in node.parameters for side in shape)
