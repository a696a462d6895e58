"""Which part of a configuration a stack of layers was built from.

Composite configurations keep those of their parts under names that differ from family to family, at
any depth (`thinker_config.text_config`). No tree says which class read which; but what was built shows
the numbers that it was built from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vlm_inspect.anatomy.layers.norms import read_norm
from vlm_inspect.anatomy.leaves import is_norm
from vlm_inspect.core.architecture import Role
from vlm_inspect.core.module_tree import ModuleNode

_WIDTHS = ("hidden_size", "d_model", "embed_dim", "n_embd", "dim", "hidden_dim", "vision_embed_dim")
_DEPTHS = re.compile(
    r"(^|_)(num_(hidden_|global_)?layers|n_layers?|depths?|(encoder|decoder|num_encoder)_layers)$"
)
_WORD = re.compile(r"[a-z]+")
# what the parts are called in configurations, beside what their modules are called
_CALLED: Mapping[Role, frozenset[str]] = {
    Role.VISION_ENCODER: frozenset({"vision", "visual", "image", "vit"}),
    Role.AUDIO_ENCODER: frozenset({"audio", "speech", "sound", "encoder"}),
    Role.LANGUAGE_MODEL: frozenset({"text", "llm", "language"}),
    Role.GENERATOR: frozenset({"talker", "dit", "expert"}),
}
_PLAIN = frozenset({"config", "model", "layers", "layer", "blocks", "tower"})

Config = Mapping[str, Any]


def part_config(config: Config, role: Role, path: str = "", stack: ModuleNode | None = None) -> Config:
    """The configuration of a part: of those in the whole one, that which the part agrees with most.

    It agrees in the number of layers and in their width, where a stack is given; then in words that the
    configuration's keys have in common with the part's path, and with its role. Of equals the outer one.
    """
    width, depth = (_width(stack), len(stack.children)) if stack is not None else (None, None)

    def agreement(candidate: tuple[tuple[str, ...], Config]) -> tuple[int, int, int]:
        keys, part = candidate
        words = _words(".".join(keys))
        return (
            _numbers_shared(part, width, depth),
            len(words & _words(path)),
            len(words & _CALLED.get(role, frozenset())),
        )

    return max([((), config), *_parts(config, ())], key=agreement)[1]


def _parts(config: Config, keys: Sequence[str]) -> Iterator[tuple[tuple[str, ...], Config]]:
    """The configurations inside a configuration, with the keys that lead to them."""
    for key, value in config.items():
        if isinstance(value, Mapping) and ("config" in key or "model_type" in value):
            yield (*keys, key), value
            yield from _parts(value, (*keys, key))


def _numbers_shared(config: Config, width: int | None, depth: int | None) -> int:
    """How many of the two a configuration says too: its layers' width, and how many there are."""
    has_width = width is not None and any(config.get(name) == width for name in _WIDTHS)
    depths = [value for key, value in config.items() if _DEPTHS.search(key)]
    return has_width + (depth is not None and depth in depths)


def _width(stack: ModuleNode) -> int | None:
    """The width of a stack's layers, by their norms."""
    norms = (child for _, layer in stack.children for _, child in layer.children if is_norm(child))
    return next((width for norm in norms if (width := read_norm("", norm).width)), None)


def _words(path: str) -> frozenset[str]:
    return frozenset(_WORD.findall(path.lower())) - _PLAIN
