"""What a configuration says of parts that were found by their tensors: stated classes, heads.

A part of the configuration is believed of a module only where it agrees with the module's own widths.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from vlm_inspect.core.module_tree import Attribute, ModuleNode, Shape

_WIDTHS = ("hidden_size", "embed_dim", "width", "d_model", "n_embd", "dim", "hidden_dim")
_HEADS = ("num_attention_heads", "num_heads", "n_head", "n_heads", "heads", "encoder_attention_heads")
_SHARED = ("num_key_value_heads", "num_kv_heads", "n_head_kv", "multi_query_group_num")
_HEAD_WIDTHS = ("head_dim", "attention_head_dim", "kv_channels", "head_width")
_QUERY = re.compile(r"^(q_proj|query|q|wq|q_linear|to_q|query_proj|Wq)$")
_FUSED = re.compile(r"^(qkv|qkv_proj|query_key_value|Wqkv|wqkv|c_attn|to_qkv|att_proj)$")
_LANGUAGE = ("text", "llm", "language")
_WITH_HEAD = re.compile(r"(For[A-Z]|LMHead)")
_HEAD_NAME = re.compile(r"^(lm_head|output|embed_out|head)$")
_VISION_CLASS = re.compile(r"(Vision|Visual|ViT)")
_VISION_PARTS = ("vision_config", "encoder", "vision_tower_config")
_AUDIO_PARTS = ("audio_config", "encoder_config", "speech_config")
_DEEPEST_PART = 3
_SHALLOW = 2

Attributes = tuple[tuple[str, Attribute], ...]


def explicit_parts(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration, with an empty part for a tower that it has none for.

    What it says at its top is the language model's: it must not be read as the tower's.
    """
    empty: dict[str, Any] = {
        parts[0]: {} for parts in (_VISION_PARTS, _AUDIO_PARTS) if not set(parts) & set(config)
    }
    return {**config, **empty}


def stated_class(path: str, config: Mapping[str, Any], children: Mapping[str, ModuleNode]) -> str | None:
    """The class that the configuration states of a module: the whole one's `architectures` or a part's."""
    if not path:
        return first_architecture(config)
    name = path.rpartition(".")[2]
    if path.count(".") >= _SHALLOW or not children:
        return None
    for key, part in config.items():
        if isinstance(part, Mapping) and key.endswith("_config") and _is_named_for(name, key):
            stated = first_architecture(part)
            if stated is not None and _fits(stated, key, children):
                return stated
    return None


def first_architecture(config: Mapping[str, Any]) -> str | None:
    """The first of `architectures`, where it can be a class's name."""
    names = config.get("architectures")
    first = names[0] if isinstance(names, list) and names else None
    return first if isinstance(first, str) and first.isidentifier() else None


def _is_named_for(name: str, key: str) -> bool:
    base = key.removesuffix("_config")
    bases = ("language_model", "llm") if base in _LANGUAGE else (base,)
    return any(name in {each, f"{each}_model", f"{each}_tower", f"{each}_encoder"} for each in bases)


def _fits(stated: str, key: str, children: Mapping[str, ModuleNode]) -> bool:
    """Whether the module can be of that class: with a head where the class has one, and a tower's class."""
    if key.startswith("vision"):
        return bool(_VISION_CLASS.search(stated))
    return bool(_WITH_HEAD.search(stated)) == any(_HEAD_NAME.search(child) for child in children)


def attention_sizes(
    path: str, children: Mapping[str, ModuleNode], own: Mapping[str, Shape], config: Mapping[str, Any]
) -> Attributes:
    """Heads, from the part of the configuration whose width is what the attention's projections read."""
    given, made, is_fused = _query_widths(children, own)
    if given is None or made is None:
        return ()
    found = {
        sizes
        for _, part in _matching(path, given, config)
        if (sizes := _heads(part, made, is_fused=is_fused)) is not None
    }
    return next(iter(found)) if len(found) == 1 else ()


def _query_widths(
    children: Mapping[str, ModuleNode], own: Mapping[str, Shape]
) -> tuple[int | None, int | None, bool]:
    """(in, out) of the projection that makes the queries, and whether it makes keys and values too."""
    if "in_proj_weight" in own and len(own["in_proj_weight"]) == 2:  # noqa: PLR2004 - a matrix
        return own["in_proj_weight"][1], own["in_proj_weight"][0], True
    for name, child in children.items():
        fused = bool(_FUSED.search(name))
        if fused or _QUERY.search(name):
            given, made = child.attribute("in_features", "nx"), child.attribute("out_features", "nf")
            return (
                (given, made, fused)
                if isinstance(given, int) and isinstance(made, int)
                else (None, None, fused)
            )
    return None, None, False


def _matching(path: str, width: int, config: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The parts of that width; where several have it, those that the path is named for."""
    found = [(key, part) for key, part in _parts("", config, 0) if number(part, _WIDTHS) == width]
    named = [(key, part) for key, part in found if _shares_word(path, key)]
    return named or found


def _shares_word(path: str, key: str) -> bool:
    word = re.split(r"[._]", key)[0]
    words = ("language", "text", "llm") if word in _LANGUAGE else (word,)
    return bool(word) and any(each in path for each in words)


def _parts(key: str, config: Mapping[str, Any], depth: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield key, config
    if depth < _DEEPEST_PART:
        for inner, part in config.items():
            if isinstance(part, Mapping):
                yield from _parts(str(inner), part, depth + 1)


def _heads(part: Mapping[str, Any], made: int, *, is_fused: bool) -> Attributes | None:
    """Heads that divide what the projection makes; of a fused one, its keys and values counted in."""
    heads, shared = number(part, _HEADS), number(part, _SHARED)
    if heads is None:
        return None
    shared = shared or heads
    width, rest = divmod(made, heads + 2 * shared if is_fused else heads)
    stated = number(part, _HEAD_WIDTHS)
    if rest or (stated is not None and stated != width):
        return None
    sizes: dict[str, Attribute] = {"head_dim": width, "num_heads": heads}
    return tuple(sorted(({**sizes, "num_key_value_heads": shared} if is_fused else sizes).items()))


def number(config: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    """The first of these keys that holds a size."""
    values = (config.get(name) for name in names)
    return next((value for value in values if type(value) is int and value > 0), None)
