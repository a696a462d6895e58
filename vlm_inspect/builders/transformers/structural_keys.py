"""Compare the keys that a class did not use with what it built.

An unused key is structural only if the model differs from what it states: the same section has the quantity under
another spelling with another value, or the key states a part that the model lacks. What no shape depends on,
and what belongs to a part that is switched off or was not built, is not structural.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from typing import Any

from msgspec import Struct

from vlm_inspect.builders.config_values import is_number
from vlm_inspect.builders.transformers import key_words
from vlm_inspect.core.module_tree import ModuleNode, ModuleTree

# a layer with another mixer has other parameters; how far attention sees changes no shape
_ANY_ATTENTION = re.compile(r"(full|sliding|chunked|local|global|self)?_?attention")
_OFF: tuple[Any, ...] = (False, 0, None, [], {}, "none")
_SIZES_OF_PARTS = (key_words.WIDTH, key_words.LAYERS, key_words.MLP_WIDTH)
_MOST_EXTRA_POSITIONS = 2  # class and distillation tokens


class Part(Struct, frozen=True, dict=True):
    """A configuration or sub-configuration as the classes read it."""

    path: str
    config: Any
    declared: frozenset[str]
    """The keys that its class declares."""
    read: frozenset[str] = frozenset()
    """The attributes that were read while the model was built."""

    def reads(self, key: str) -> bool:
        """Whether the model's classes read a key."""
        return key in self.read

    @cached_property
    def values(self) -> tuple[tuple[str, Any], ...]:
        """The declared keys and their values; cached, since every unused key is compared with them."""
        return tuple((key, value) for key, value in vars(self.config).items() if key in self.declared)

    @cached_property
    def is_built(self) -> bool:
        """Whether a module was built from it: then its sizes were read. The whole may have sizes in its parts only."""
        return not self.path or any(key_words.quantity_of(key) is not None for key in self.read)

    @property
    def is_text(self) -> bool:
        """Whether it is the language model's: the only part with a vocabulary."""
        return "vocab_size" in vars(self.config) and "vocab_size" in self.declared

    @cached_property
    def kinds(self) -> frozenset[str]:
        """The kinds of parts that it describes, by its path and its vocabulary."""
        named = key_words.part_kinds(self.path.split("."))
        kinds = named | {"text"} if self.is_text and not named - {"text"} else named
        return kinds if "text" in kinds else kinds | {"encoder"}

    def of(self, quantity: frozenset[str]) -> Iterator[tuple[str, Any]]:
        """Yield the keys of this quantity that state it of this part, and their values."""
        for key, value in self.values:
            is_same = value is not None and key_words.quantity_of(key) == quantity
            if is_same and key_words.part_kinds([key]) <= self.kinds:
                yield key, value

    def numbers(self, quantity: frozenset[str]) -> list[Any]:
        """The values of a quantity that are positive numbers."""
        return [value for _, value in self.of(quantity) if is_number(value) and value > 0]


class UnusedKey(Struct, frozen=True):
    """A key that no class read: the part whose section holds it, and the names inside that section."""

    part: Part
    names: tuple[str, ...]
    value: Any

    @property
    def name(self) -> str:
        """The key of the section: of a nested key, the outermost."""
        return self.names[0]

    @property
    def key(self) -> str:
        """The key itself."""
        return self.names[-1]

    @property
    def path(self) -> str:
        """Its path in config.json."""
        return ".".join(filter(None, (self.part.path, *self.names)))


class _Section(Struct, frozen=True):
    """A section of config.json by the words of its keys."""

    words: frozenset[str] = frozenset()
    switched_off: frozenset[frozenset[str]] = frozenset()
    """The words of each part that a key of the section switches off."""

    @classmethod
    def of(cls, section: Any) -> _Section:
        if not isinstance(section, Mapping):
            return cls()
        words = frozenset(word for key in section for word in key_words.words_of(str(key)))
        off = (key_words.switched_off(str(key), is_set=_is_set(value)) for key, value in section.items())
        return cls(words, frozenset(filter(None, off)))


class BuiltValues(Struct, frozen=True, dict=True):
    """The resolved configurations of a model, the whole model's first, its config.json and its modules."""

    parts: tuple[Part, ...]
    stated: Mapping[str, Any]
    tree: ModuleTree

    def built_instead(self, unused: UnusedKey) -> str | None:
        """Return what was built in place of what an unused key states.

        None if the model does not differ from it. Empty if nothing corresponds to it.
        """
        if not _is_set(unused.value) or not unused.part.is_built:
            return None
        instead = self._built_instead(unused)
        return None if instead is None or self._is_switched_off(unused) else instead

    def _built_instead(self, unused: UnusedKey) -> str | None:
        if isinstance(unused.value, str):
            return "" if self._names_another_part(unused) else None
        if key_words.lists_layer_kinds(unused.key):
            return "" if _has_other_layers(unused.value) else None
        quantity = key_words.quantity_of(unused.key)
        numbers = unused.value if isinstance(unused.value, list) else [unused.value]
        if quantity is None or not all(map(is_number, numbers)):
            return None
        differs = {key_words.HEAD_WIDTH: self._has_other_heads, key_words.MLP_RATIO: self._has_other_mlp}.get(quantity)
        if differs is None:
            return self._other_value(unused, quantity)
        is_number_of_section = len(unused.names) == 1 and not isinstance(unused.value, list)
        return "" if is_number_of_section and differs(unused) else None

    def _other_value(self, unused: UnusedKey, quantity: frozenset[str]) -> str | None:
        """The same quantity of the same section, or of the part that a key outside of the sections is about."""
        near = [each for each in self.parts if _is_inside(each.path, unused.part.path)]
        known = [value for part in near for key, value in part.values if key_words.quantity_of(key) == quantity]
        if any(_equal(value, unused.value) for value in known):
            return None
        counterpart = next(self._counterparts(unused, quantity), None)
        if counterpart is not None:
            part, key, value = counterpart
            shows = quantity != key_words.IMAGE or self._has_positions(part, value)
            return _key_and_value(part.path, key, value) if shows else None
        return "" if self._lacks_part(unused, quantity, has_it=bool(known)) else None

    def _lacks_part(self, unused: UnusedKey, quantity: frozenset[str], *, has_it: bool) -> bool:
        """Whether a key states experts, a resampler or a section of its own that nothing was built from."""
        is_missing = (
            key_words.states_part(unused.names)
            or (quantity == key_words.EXPERTS and not has_it)
            or (quantity in _SIZES_OF_PARTS and bool(key_words.part_kinds(unused.names[:-1])))
        )
        return is_missing and not self._holds(unused.value)

    def _counterparts(self, unused: UnusedKey, quantity: frozenset[str]) -> Iterator[tuple[Part, str, Any]]:
        own, kinds = unused.part, key_words.part_kinds(unused.names)
        is_list = isinstance(unused.value, list)
        if len(unused.names) == 1 and kinds <= own.kinds:
            yield from ((own, key, value) for key, value in own.of(quantity) if _is_list(value) == is_list)
        below = [each for each in self.parts if each is not own and _is_inside(each.path, own.path)]
        targets = [each for each in below if (kinds <= each.kinds if kinds else each.is_text)]
        if not kinds and len(unused.names) > 1:
            return  # a section of its own
        for part in targets[:1]:
            for key, value in part.of(quantity):
                is_stated = self._stated_at(f"{part.path}.{key}") is not None
                if _is_list(value) == is_list and not (is_stated if not kinds else self._holds(unused.value)):
                    yield part, key, value

    def _is_switched_off(self, unused: UnusedKey) -> bool:
        """Whether config.json switches the part off, next to the key or next to a section that holds it."""
        names = unused.path.split(".")
        # what is off may be named by the keys next to it alone: `resampler_depth` in a `perceiver_config`
        words = frozenset(word for name in names for word in key_words.words_of(name))
        if len(unused.names) > 1:
            words |= self._section(".".join(names[:-1])).words
        sections = (self._section(".".join(names[:depth])) for depth in range(len(names)))
        return any(off <= words for section in sections for off in section.switched_off)

    def _section(self, path: str) -> _Section:
        """The words of a section's keys, read once: an odd section may have thousands of unused keys."""
        if path not in self._sections:
            self._sections[path] = _Section.of(self._stated_at(path) if path else self.stated)
        return self._sections[path]

    @cached_property
    def _sections(self) -> dict[str, _Section]:
        return {}

    def _stated_at(self, path: str) -> Any:
        value: Any = self.stated
        for name in path.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        return value

    def _names_another_part(self, unused: UnusedKey) -> bool:
        """Whether a text names a checkpoint of a type that no section of config.json describes."""
        if "/" not in unused.value or not key_words.names_checkpoint(unused.key):
            return False
        sections = [each for each in self.parts if each.path and self._stated_at(each.path)]
        described = {_family(getattr(each.config, "model_type", "")) for each in sections}
        named = set(re.split(r"[^a-z0-9]+", unused.value.lower()))
        if all(each.is_text for each in sections):
            return True
        return bool(named & _known_families()) and not named & described

    def _has_other_heads(self, unused: UnusedKey) -> bool:
        """Whether no parameter is as wide as all heads of the width that a key states."""
        heads = unused.part.numbers(key_words.HEADS)
        # queries alone, or fused with keys and values
        widths = {unused.value * count * fused for count in heads for fused in (1, 2, 3)}
        return bool(heads) and not widths & self._sizes_of(unused.part)

    def _has_other_mlp(self, unused: UnusedKey) -> bool:
        """Whether the MLPs of the section have another width than the ratio that a key states."""
        built = unused.part.numbers(key_words.MLP_WIDTH)
        stated = {unused.value * width for width in unused.part.numbers(key_words.WIDTH)}
        return bool(built and stated) and not any(abs(each - width) < 1 for each in stated for width in built)

    def _has_positions(self, part: Part, image: Any) -> bool:
        """Whether the part has a table with a position for each patch of an image of this size."""
        sides = {image // patch for patch in part.numbers(key_words.PATCH) if is_number(image)}
        counts = {side * side + extra for side in sides for extra in range(_MOST_EXTRA_POSITIONS + 1)}
        return bool(counts & self._sizes_of(part))

    def _holds(self, value: Any) -> bool:
        """Whether a parameter has a dimension of this size, or a list this many modules."""
        return not isinstance(value, list) and value in self._sizes

    @cached_property
    def _sizes(self) -> frozenset[int]:
        return frozenset(_sizes_below([self.tree.root]))

    def _sizes_of(self, part: Part) -> frozenset[int]:
        """The sizes in the modules that were built from a part; those of the model if they are not known."""
        kind = getattr(part.config, "model_type", None)
        paths = [path for path, config in self.tree.configs.items() if config.get("model_type") == kind]
        nodes = [node for node in map(self.tree.find, paths) if node is not None]
        return frozenset(_sizes_below(nodes)) if nodes else self._sizes


def _sizes_below(nodes: list[ModuleNode]) -> Iterator[int]:
    """Every dimension of every parameter's shape, and the length of every list of modules."""
    seen: set[int] = set()
    while nodes:
        node = nodes.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield from (side for _, shape in node.parameters for side in shape)
        if all(name.isdigit() for name, _ in node.children):
            yield len(node.children)
        nodes += [child for _, child in node.children]


@cache
def _known_families() -> frozenset[str]:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    # "vision" of vision-encoder-decoder is no family
    return frozenset(family for family in map(_family, CONFIG_MAPPING) if not key_words.part_kinds([family]))


def _family(model_type: str) -> str:
    """`clip` of `clip_vision_model`."""
    return re.split(r"[-_]", model_type)[0]


def _has_other_layers(kinds: Any) -> bool:
    """Whether a list of the kinds of layers names one without plain attention."""
    return isinstance(kinds, list) and not all(
        isinstance(kind, str) and _ANY_ATTENTION.fullmatch(kind) for kind in kinds
    )


def _is_set(value: Any) -> bool:
    return not any(value is off or (value == off and type(value) is type(off)) for off in _OFF)


def _is_inside(path: str, section: str) -> bool:
    return not section or path == section or path.startswith(f"{section}.")


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _equal(known: Any, value: Any) -> bool:
    return bool((list(known) if isinstance(known, tuple) else known) == value)


def _key_and_value(path: str, key: str, value: Any) -> str:
    """`text_config.hidden_size 4096`."""
    return f"{path}.{key} {json.dumps(value, default=str)}" if path else f"{key} {json.dumps(value, default=str)}"
