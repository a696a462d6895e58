"""Finds the part of a configuration that a stack of layers was built from.

Composite configurations nest their parts at any depth (`thinker_config.text_config`), under names that
differ between model families. The tree does not say which class read which part, but the numbers of the built
layers match those of their configuration.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from vlm_inspect.anatomy.layers.norms import read_norm
from vlm_inspect.anatomy.module_kinds import is_norm
from vlm_inspect.core.architecture import Role
from vlm_inspect.core.module_tree import ModuleNode, join

_WIDTHS = ("hidden_size", "d_model", "embed_dim", "n_embd", "dim", "hidden_dim", "vision_embed_dim")
_DEPTHS = re.compile(r"(^|_)(num_(hidden_|global_)?layers|n_layers?|depths?|(encoder|decoder|num_encoder)_layers)$")
_ROLE_WORDS: Mapping[Role, frozenset[str]] = {
    Role.VISION_ENCODER: frozenset({"vision", "visual", "image", "vit"}),
    Role.AUDIO_ENCODER: frozenset({"audio", "speech", "sound", "encoder"}),
    Role.LANGUAGE_MODEL: frozenset({"text", "llm", "language"}),
    Role.GENERATOR: frozenset({"talker", "dit", "expert"}),
}
_GENERIC_WORDS = frozenset({"config", "model", "layers", "layer", "blocks", "tower"})

Config = Mapping[str, Any]


def part_config(config: Config, role: Role, path: str = "", stack: ModuleNode | None = None) -> Config:
    """The configuration of the part at a path with these layers: the best nested match, or the whole.

    Layer count and width come first, then the words that the keys share with the path, then with the
    role. Of equal matches the outer configuration is taken.
    """
    width, depth = (_stack_width(stack), len(stack.children)) if stack is not None else (None, None)

    def match(candidate: tuple[str, Config]) -> tuple[int, int, int]:
        keys, part = candidate
        words = _path_words(keys)
        has_width = width is not None and any(part.get(name) == width for name in _WIDTHS)
        has_depth = depth is not None and depth in [part[key] for key in part if _DEPTHS.search(key)]
        role_words = _ROLE_WORDS.get(role, frozenset())
        return has_width + has_depth, len(words & _path_words(path)), len(words & role_words)

    return max([("", config), *_nested_configs(config, "")], key=match)[1]


def _nested_configs(config: Config, path: str) -> Iterator[tuple[str, Config]]:
    """All configurations inside a configuration, each with the keys that lead to it."""
    for key, value in config.items():
        if isinstance(value, Mapping) and ("config" in key or "model_type" in value):
            yield join(path, key), value
            yield from _nested_configs(value, join(path, key))


def _stack_width(stack: ModuleNode) -> int | None:
    """The width of a stack's layers, read from their norms."""
    norms = (child for _, layer in stack.children for _, child in layer.children if is_norm(child))
    return next((width for norm in norms if (width := read_norm("", norm).width)), None)


def _path_words(path: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z]+", path.lower())) - _GENERIC_WORDS
