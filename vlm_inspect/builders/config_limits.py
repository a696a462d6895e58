"""Limits on the sizes in a configuration, checked before anything is built from it.

A model class accepts any size: a billion layers are built until memory is full, minus one layer becomes
none. The limits are far above any published model, and hold for the keys that are read. Sizes under unknown
keys are caught by counting modules during the build.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any

from vlm_inspect.builders.config_values import flat_values, is_number
from vlm_inspect.core.errors import UnbuildableConfigError

MOST_LAYERS = 2_000  # layers or blocks under one key
MOST_EXPERTS = 10_000  # in a layer
MOST_LABELS = 10**5  # of a classifier: transformers makes a name for each
MOST_MODULES = 100_000  # in total: a mixture of experts that is not fused has some tens of thousands
LARGEST_SIZE = 10**9  # any other size: a vocabulary, a width, an image size
LONGEST_NAME = 200  # characters of a `model_type` or of a class name in `architectures`

_LIMITS = (
    (re.compile(r"(^n_layer|layers|^depth|_depth|depths|blocks)$"), MOST_LAYERS),
    (re.compile(r"experts$"), MOST_EXPERTS),
    (re.compile(r"^num_labels$"), MOST_LABELS),
    (re.compile(r"(_size|_dim|_heads|_width|_channels)$"), LARGEST_SIZE),
)
# lists of counts, which add up; a list under another name holds the indices of layers
_COUNTS = re.compile(r"(^num_|^n_|depths?$)")
_COMMON_KEYS = re.compile(
    r"num_(hidden_)?layers|n_layers?|layers|depth|hidden_size|embed_dim|width|d_model|n_embd|dim|vocab_size"
    r"|(num_attention|num_key_value|num|n)_heads?|intermediate_size|ffn_dim|mlp_dim|(num|n_routed|num_local)_experts"
)
_COMMON_SECTIONS = re.compile(r"|((text|llm|language|thinker|vision|vision_tower|audio|speech)_config|visual|decoder)")
_NUMBER = re.compile(r"-?\d+(\.\d*)?(e[+-]?\d+)?", re.IGNORECASE)
# indices of layers may be negative: they count from the end
_INDICES = re.compile(r"(feature|select|index|indices|indexes)")


def check_sizes(config: Mapping[str, Any], model: str, is_read: Callable[[str], bool]) -> None:
    """Raise UnbuildableConfigError for a size that is negative or beyond its limit.

    Args:
        config: The config.json.
        model: The model's id, for the message.
        is_read: Whether the key at a path is read; any other may have any value.

    """
    for path, what in (*_bad_sizes(config), *_long_maps(config)):
        if is_read(path):
            raise _refused(f"{path} {what}", model)


def check_names(config: Mapping[str, Any], model: str) -> None:
    """Raise UnbuildableConfigError for a type or class with a name beyond the limit."""
    for key in ("model_type", "architectures"):
        value = config.get(key)
        for name in value if isinstance(value, list) else [value]:
            if isinstance(name, str) and len(name) > LONGEST_NAME:
                size = f"{len(name):,} characters"
                raise _refused(f"{key} has a name of {size}, and the limit is {LONGEST_NAME:,}", model)


def is_common_key(path: str) -> bool:
    """Whether a key is read without a class: a common name of a size, at the top or in the section of a part."""
    section, _, key = path.rpartition(".")
    return bool(_COMMON_KEYS.fullmatch(key) and _COMMON_SECTIONS.fullmatch(section))


def quoted_sizes(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the path and value of each size that is a number in quotes."""
    for path, value, _ in _sizes(config):
        if isinstance(value, str) and value.strip().lstrip("-").isdigit():
            yield path, value


def quoted_numbers(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the path and value of each number in quotes."""
    for path, value in flat_values(config):
        if isinstance(value, str) and _NUMBER.fullmatch(value.strip()) and not path.endswith("version"):
            yield path, value


@contextmanager
def counted_modules(model: str) -> Iterator[None]:
    """Raise UnbuildableConfigError as soon as a build inside the block has too many modules."""
    from torch.nn.modules.module import register_module_module_registration_hook

    modules = count(1)

    def count_one(*_: object) -> None:
        if next(modules) > MOST_MODULES:
            hint = "Look in the model's config.json for a number that is too large."
            raise _refused(f"it asks for more than {MOST_MODULES:,} modules", model, hint)

    handle = register_module_module_registration_hook(count_one)
    try:
        yield
    finally:
        handle.remove()


def _bad_sizes(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for path, value, limit in _sizes(config):
        # a size of -1 often means "none"; a class that cannot take it raises an error itself
        is_count = limit in (MOST_LAYERS, MOST_EXPERTS) and not _INDICES.search(path)
        if is_number(value) and value < 0 and is_count:
            yield path, f"is {value}, and cannot be negative"
        elif is_number(value) and not value <= limit:
            yield path, f"is {value:,}, and the limit is {limit:,}"


def _long_maps(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for path, value in flat_values(config):
        if path.endswith(("id2label", "label2id")) and isinstance(value, Mapping) and len(value) > MOST_LABELS:
            yield path, f"has {len(value):,} entries, and the limit is {MOST_LABELS:,}"


def _sizes(config: Mapping[str, Any]) -> Iterator[tuple[str, Any, int]]:
    """Yield (path, value, limit) of every size: of a list its items, and their sum if they are counts."""
    for key, value in flat_values(config):
        name = key.rpartition(".")[2]
        limit = next((limit for pattern, limit in _LIMITS if pattern.search(name)), None)
        if limit is None:
            continue
        yield from ((key, each, limit) for each in (value if isinstance(value, list) else [value]))
        if isinstance(value, list) and _COUNTS.search(name):
            yield key, sum(each for each in value if isinstance(each, int) and each > 0), limit


def _refused(
    what: str, model: str, hint: str = "Correct that value in the model's config.json."
) -> UnbuildableConfigError:
    return UnbuildableConfigError(f"the configuration was refused: {what}.", hint=hint, model=model)
