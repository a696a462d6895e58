"""The modules that an adapter's configuration targets, as PEFT selects them.

`target_modules` is a list of names that module paths end in, or a regular expression for whole paths.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Collection, Mapping
from time import monotonic
from typing import Any

import regex
from msgspec import Struct

from vlm_inspect.core.module_tree import ModuleNode

SECONDS = 5
"""Time limit of a pattern, over all modules."""
_LONGEST_PATTERN = 10_000
_LORA_CLASSES = ("Linear", "Embedding", "Conv1d", "Conv2d", "Conv3d", "Conv1D", "MultiheadAttention")
_LAYER_NUMBER = re.compile(r".*?\.[^.]*\.(\d+)\.")


class TargetModules(Struct, frozen=True):
    """The modules that an adapter targets."""

    paths: frozenset[str] | None
    """None if they are unknown."""
    unknown: str = ""
    """The reason, if they are unknown."""


def target_modules(config: Mapping[str, Any], root: ModuleNode, head: str | None) -> TargetModules:
    """Return the modules that an adapter_config.json targets; `all-linear` leaves out the output layer."""
    wanted = config.get("target_modules")
    if isinstance(wanted, str) and wanted.lower() == "all-linear":
        linear = (path for path, node in root.walk() if node.class_name in {"Linear", "Conv1D"})
        return TargetModules(frozenset(path for path in linear if path != head))
    names = [path for path, _ in root.walk() if path]
    if isinstance(wanted, str):
        found = match_names(wanted, names)
        return _bad_pattern("target_modules") if found is None else _without_excluded(found, config)
    if not isinstance(wanted, list) or not all(isinstance(each, str) for each in wanted):
        return TargetModules(None, "its configuration names no target_modules")
    in_layers = _layer_filter(config)
    if in_layers is None:
        return TargetModules(None, "its layers_to_transform or layers_pattern is not supported")
    endings = set(wanted)
    ending = _names_ending_in(endings, names)
    return _without_excluded(frozenset(n for n in ending if n in endings or in_layers(n)), config)


def lora_capable(root: ModuleNode) -> set[str]:
    """Return the paths of the modules that PEFT can put a LoRA on."""
    return {path for path, node in root.walk() if node.class_name.endswith(_LORA_CLASSES)}


def match_names(pattern: str, names: Collection[str]) -> frozenset[str] | None:
    """Return the names that a pattern matches as a whole; None if it is invalid or takes too long."""
    if len(pattern) > _LONGEST_PATTERN:
        return None
    deadline = monotonic() + SECONDS
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(pattern)  # PEFT's own check; regex accepts more, and has a timeout
            compiled = regex.compile(pattern)
        return frozenset(name for name in names if compiled.fullmatch(name, timeout=max(0.0, deadline - monotonic())))
    except (re.error, regex.error, TimeoutError, ValueError, OverflowError, RecursionError):
        return None


def _names_ending_in(endings: Collection[str], names: Collection[str]) -> frozenset[str]:
    suffixes = tuple(f".{ending}" for ending in endings)
    return frozenset(name for name in names if name in endings or name.endswith(suffixes))


def _layer_filter(config: Mapping[str, Any]) -> Callable[[str], bool] | None:
    """Whether a module is in one of `layers_to_transform`; None if that is not supported."""
    layers = config.get("layers_to_transform")
    if layers is None or layers == []:
        return lambda _: True
    numbers = [layers] if isinstance(layers, int) else layers
    is_list = isinstance(numbers, list) and all(isinstance(number, int) for number in numbers)
    if config.get("layers_pattern") or not is_list:
        return None
    return lambda name: (match := _LAYER_NUMBER.match(name)) is not None and int(match[1]) in numbers


def _without_excluded(found: frozenset[str], config: Mapping[str, Any]) -> TargetModules:
    excluded = config.get("exclude_modules") or []
    if isinstance(excluded, str):
        matched = match_names(excluded, found)
        return _bad_pattern("exclude_modules") if matched is None else TargetModules(found - matched)
    endings = {name for name in excluded if isinstance(name, str)} if isinstance(excluded, list) else set()
    return TargetModules(found - _names_ending_in(endings, found))


def _bad_pattern(key: str) -> TargetModules:
    return TargetModules(None, f"its {key} is an invalid pattern, or takes too long to match")
