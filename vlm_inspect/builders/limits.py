"""Configurations that are refused before anything is built from them.

A class takes what it is given: a billion layers are built until memory ends, and minus one is built as
none. The limits lie far above any published model. What no name gives away is counted as it is built.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any

from vlm_inspect.core.errors import UnbuildableConfigError

MOST_LAYERS = 2_000
"""Layers or blocks that one key of a configuration may ask for."""
MOST_EXPERTS = 10_000
"""Experts in a layer."""
MOST_LABELS = 10**5
"""Classes to tell apart: a configuration makes itself a name for each."""
MOST_MODULES = 100_000
"""Modules in all: a mixture of experts that is not fused has some tens of thousands."""
LARGEST_SIZE = 10**9
"""Any other size: a vocabulary, a width, an image's side."""
LONGEST_NAME = 200
"""Characters of a name that says what is to be built: `model_type`, a class in `architectures`."""

_REPEATED = re.compile(r"(^n_layer|layers|^depth|_depth|depths|blocks)$")
_EXPERTS = re.compile(r"experts$")
_LIMITS = (
    (_REPEATED, MOST_LAYERS),
    (_EXPERTS, MOST_EXPERTS),
    (re.compile(r"^num_labels$"), MOST_LABELS),
    (re.compile(r"(_size|_dim|_heads|_width|_channels)$"), LARGEST_SIZE),
)
# of these a list adds up; under other names it says which layers, not how many
_ADDS_UP = re.compile(r"(^num_|^n_|depths?$)")
# names of places among the layers, which may be counted from the end
_PLACES = re.compile(r"(feature|select|index|indices|indexes)")
_SHOWN = 40


def check_sizes(config: Mapping[str, Any], model: str) -> None:
    """Raises UnbuildableConfigError for a size that is no size, or beyond any model."""
    for key, number, most in _sizes(config):
        _check_sense(key, number, most, model)
    check_largest(config, model)


def check_largest(config: Mapping[str, Any], model: str) -> None:
    """As check_sizes, of what is beyond any model alone, whoever builds it or only reads."""
    for key, number, most in _sizes(config):
        if _is_number(number) and not number <= most:
            raise _refused(f"{key} is {number:,}, and the limit is {most:,}", model)
    for key, value in _leaves(config):
        if key.endswith(("id2label", "label2id")) and isinstance(value, Mapping) and len(value) > MOST_LABELS:
            raise _refused(f"{key} has {len(value):,} entries, and the limit is {MOST_LABELS:,}", model)
    for key in ("model_type", "architectures"):
        value = config.get(key)
        for name in value if isinstance(value, list) else [value]:
            if isinstance(name, str) and len(name) > LONGEST_NAME:
                what = f"{key} has a name of {len(name):,} characters, and the limit is {LONGEST_NAME:,}"
                raise _refused(what, model)


@contextmanager
def counted_modules(model: str) -> Iterator[None]:
    """Raise UnbuildableConfigError in the middle of a build that has no end in sight."""
    from torch.nn.modules.module import register_module_module_registration_hook

    modules = count(1)

    def count_one(*_: object) -> None:
        if next(modules) > MOST_MODULES:
            raise _refused(
                f"it asks for more than {MOST_MODULES:,} modules",
                model,
                hint="Look in the model's config.json for a number that is too large.",
            )

    handle = register_module_module_registration_hook(count_one)
    try:
        yield
    finally:
        handle.remove()


def _sizes(config: Mapping[str, Any]) -> Iterator[tuple[str, Any, int]]:
    """What a configuration says of sizes: under which key, what, and the most that it may be."""
    for key, value in _leaves(config):
        name = key.rpartition(".")[2]
        most = next((limit for pattern, limit in _LIMITS if pattern.search(name)), None)
        if most is not None:
            yield from ((key, number, most) for number in _numbers(name, value))


def _leaves(data: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value under its name, those of nested configurations included."""
    for key, value in data.items():
        inner = f"{path}.{key}" if path else str(key)
        yield inner, value
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, Mapping):
                yield from _leaves(part, inner)


def _numbers(name: str, value: Any) -> Iterator[Any]:
    """What is to be checked of a value: itself; of a list its items, and their sum where they add up."""
    if not isinstance(value, list):
        yield value
        return
    yield from value
    if _ADDS_UP.search(name):
        yield sum(number for number in value if isinstance(number, int) and number > 0)


def _check_sense(key: str, value: Any, most: int, model: str) -> None:
    if isinstance(value, str) and value.strip().lstrip("-").isdigit():
        raise _refused(f"{key} is the text {value[:_SHOWN]!r}, and should be a number", model)
    # a size of -1 is a common way to say "none"; a class that cannot take it says so itself
    counted = most in (MOST_LAYERS, MOST_EXPERTS) and not _PLACES.search(key)
    if _is_number(value) and value < 0 and counted:
        raise _refused(f"{key} is {value}, and cannot be negative", model)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _refused(
    what: str, model: str, hint: str = "Correct that value in the model's config.json."
) -> UnbuildableConfigError:
    return UnbuildableConfigError(f"the configuration was refused: {what}.", hint=hint, model=model)
