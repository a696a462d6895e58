"""What a configuration states about modules that were found by their tensors: classes and attention heads.

A sub-configuration is used for a module only if it has the module's width.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from vlm_inspect.builders import config_values
from vlm_inspect.builders.config_values import first_size
from vlm_inspect.builders.headers.classes import FUSED_NAME, MATRIX, QUERY_NAME
from vlm_inspect.core.module_tree import Attribute, ModuleNode, Shape

_WIDTHS = ("hidden_size", "embed_dim", "width", "d_model", "n_embd", "dim", "hidden_dim")
_HEADS = ("num_attention_heads", "num_heads", "n_head", "n_heads", "heads", "encoder_attention_heads")
_KV_HEADS = ("num_key_value_heads", "num_kv_heads", "n_kv_heads", "n_head_kv", "multi_query_group_num")
_HEAD_DIMS = ("head_dim", "attention_head_dim", "kv_channels", "head_width")
_LANGUAGE = ("text", "llm", "language")
_WITH_HEAD = re.compile(r"(For[A-Z]|LMHead)")
_HEAD_NAME = re.compile(r"^(lm_head|output|embed_out|head)$")
_VISION_CLASS = re.compile(r"(Vision|Visual|ViT)")
_TOWER_PARTS = (
    ("vision_config", "encoder", "vision_tower_config"),
    ("audio_config", "encoder_config", "speech_config"),
)

Attributes = tuple[tuple[str, Attribute], ...]


def explicit_parts(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration with an empty part for each kind of tower that it does not describe.

    Its top-level values are the language model's; without the empty part they would be read as the tower's.
    """
    return {**config, **{names[0]: {} for names in _TOWER_PARTS if not set(names) & set(config)}}


def stated_class(path: str, config: Mapping[str, Any], children: Mapping[str, ModuleNode]) -> str | None:
    """Return the class that `architectures` names for a module, at the top or in a sub-configuration."""
    if not path:
        return first_architecture(config)
    if path.count(".") > 1 or not children:
        return None
    name = path.rpartition(".")[2]
    for key, part in config.items():
        if isinstance(part, Mapping) and key.endswith("_config") and _is_named_for(name, key):
            stated = first_architecture(part)
            if stated is not None and _can_be(stated, key, children):
                return stated
    return None


def first_architecture(config: Mapping[str, Any]) -> str | None:
    """Return the first of `architectures` if it can be a class name."""
    first = config_values.first_architecture(config)
    return first if first is not None and first.isidentifier() else None


def attention_sizes(
    path: str, children: Mapping[str, ModuleNode], own: Mapping[str, Shape], config: Mapping[str, Any]
) -> Attributes:
    """Return the attention heads, from the sub-configuration that has the width of the projections' input."""
    projection = _query_projection(children, own)
    if projection is None:
        return ()
    in_features, out_features, is_fused = projection
    parts = _parts_of_width(path, in_features, config)
    found = {_head_sizes(part, out_features, is_fused=is_fused) for part in parts} - {()}
    return found.pop() if len(found) == 1 else ()


def _is_named_for(module: str, key: str) -> bool:
    base = key.removesuffix("_config")
    bases = ("language_model", "llm") if base in _LANGUAGE else (base,)
    return any(module in {each, f"{each}_model", f"{each}_tower", f"{each}_encoder"} for each in bases)


def _can_be(class_name: str, key: str, children: Mapping[str, ModuleNode]) -> bool:
    """Whether the module has a head if the class has one; a vision part needs the class of a tower."""
    if key.startswith("vision"):
        return bool(_VISION_CLASS.search(class_name))
    return bool(_WITH_HEAD.search(class_name)) == any(_HEAD_NAME.search(child) for child in children)


def _query_projection(children: Mapping[str, ModuleNode], own: Mapping[str, Shape]) -> tuple[int, int, bool] | None:
    """(in_features, out_features, is fused with keys and values) of the projection that makes the queries."""
    in_proj = own.get("in_proj_weight", ())
    if len(in_proj) == MATRIX:
        return in_proj[1], in_proj[0], True
    for name, child in children.items():
        is_fused = bool(FUSED_NAME.search(name))
        if is_fused or QUERY_NAME.search(name):
            inputs, outputs = child.attribute("in_features", "nx"), child.attribute("out_features", "nf")
            if isinstance(inputs, int) and isinstance(outputs, int):
                return inputs, outputs, is_fused
            break
    return None


def _parts_of_width(path: str, width: int, config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The sub-configurations of that width; of several, those that the path is named for."""
    found = [(key, part) for key, part in _parts("", config, 0) if first_size(part, _WIDTHS) == width]
    named = [part for key, part in found if _shares_word(path, key)]
    return named or [part for _, part in found]


def _shares_word(path: str, key: str) -> bool:
    word = re.split(r"[._]", key)[0]
    words = ("language", "text", "llm") if word in _LANGUAGE else (word,)
    return bool(word) and any(each in path for each in words)


def _parts(key: str, config: Mapping[str, Any], depth: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield key, config
    if depth < 3:  # noqa: PLR2004 - no configuration is nested more deeply
        for inner, part in config.items():
            if isinstance(part, Mapping):
                yield from _parts(str(inner), part, depth + 1)


def _head_sizes(part: Mapping[str, Any], out_features: int, *, is_fused: bool) -> Attributes:
    """Heads that divide the output of the projection, or (); of a fused one, with its key and value heads."""
    heads = first_size(part, _HEADS)
    if heads is None:
        return ()
    kv_heads = first_size(part, _KV_HEADS) or heads
    head_dim, rest = divmod(out_features, heads + 2 * kv_heads if is_fused else heads)
    stated = first_size(part, _HEAD_DIMS)
    if rest or stated not in (None, head_dim):
        return ()
    sizes = ("head_dim", head_dim), ("num_heads", heads)
    return (*sizes, ("num_key_value_heads", kv_heads)) if is_fused else sizes
