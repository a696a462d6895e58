"""What a class builds otherwise than the configuration lets expect, though it read all of it.

Two kinds of notes, with their numbers: layers for predicting further tokens, which a checkpoint
holds and a class for generating text leaves out, and a head that is tied where the configuration says that
it is not, says both, or says nothing while the classes' own defaults disagree.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from vlm_inspect.builders.transformers import config_keys
from vlm_inspect.core.module_tree import ModuleNode, ModuleTree

_TIE = "tie_word_embeddings"
_TEXT_PARTS = ("text_config", "llm_config", "language_config", "decoder", "thinker_config")
_FURTHER = ("mtp", "nextn", "multi_token")
_DEEPEST = 8


def not_built(stated: Mapping[str, Any], resolved: Any, tree: ModuleTree) -> tuple[str, ...]:
    """A sentence for each; `resolved` is the configuration as the classes read it."""
    return (*_further_layers(stated, tree), *_tying(stated, resolved, tree))


def _further_layers(stated: Mapping[str, Any], tree: ModuleTree) -> Iterator[str]:
    counts = {
        path: value
        for path, key, value in _leaves(stated)
        if config_keys.counts_further_tokens(key) and isinstance(value, int) and value > 0
    }
    if not counts or _builds_further_layers(tree.root, max(counts.values()), _depths(stated)):
        return
    path, count = max(counts.items(), key=lambda item: item[1])
    layers = "1 layer" if count == 1 else f"{count} layers"
    yield (
        f"config.json states {layers} for predicting further tokens ({path}), which "
        f"{tree.root.class_name} does not build: what a checkpoint holds of them is not counted."
    )


def _builds_further_layers(root: ModuleNode, further: int, depths: set[int]) -> bool:
    """Whether there is a module of that name, or a stack that is longer by as many layers."""
    longer = {depth + further for depth in depths}
    for path, node in root.walk():
        name = path.rpartition(".")[2].lower()
        if any(word in name for word in _FURTHER) or (name == "layers" and len(node.children) in longer):
            return True
    return False


def _depths(stated: Mapping[str, Any]) -> set[int]:
    return {value for _, key, value in _leaves(stated) if key == "num_hidden_layers" and type(value) is int}


def _tying(stated: Mapping[str, Any], resolved: Any, tree: ModuleTree) -> Iterator[str]:
    tied = _is_tied(tree)
    if tied is None:
        return
    ties, size = dict(_stated_ties(stated)), _head_size(tree)
    what = "ties the head to the embedding" if tied else "builds the head apart from the embedding"
    count = f"its {size:,} parameters are {'not counted again' if tied else 'counted'}"
    name = tree.root.class_name
    if ties and set(ties.values()) != {tied}:
        words = " and ".join(f"{path} {str(value).lower()}" for path, value in ties.items())
        yield f"config.json says {words}; {name} {what}, and {count}."
    elif not ties and _default(resolved) not in {None, tied}:
        yield (
            "config.json does not say whether the head is tied, and the defaults of the model's class and of "
            f"its language model's disagree; {name} {what}, and {count}."
        )


def _stated_ties(stated: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """What the configuration states of tying, at the top and for the language model; a tower has no head."""
    for path, part in (("", stated), *((name, stated.get(name)) for name in _TEXT_PARTS)):
        value = part.get(_TIE) if isinstance(part, Mapping) else None
        if isinstance(value, bool):
            yield (f"{path}.{_TIE}" if path else _TIE), value


def _default(resolved: Any) -> bool | None:
    """What the language model's class says of tying, as it was resolved.

    The whole model's does not count: in transformers 4 every one says that it is tied, and few are.
    """
    parts = (getattr(resolved, name, None) for name in _TEXT_PARTS)
    found = (getattr(part, _TIE, None) for part in parts)
    return next((value for value in found if isinstance(value, bool)), None)


def _is_tied(tree: ModuleTree) -> bool | None:
    """Whether head and embedding are one parameter; None where the model names no head or embedding."""
    head, embedding = _weight(tree, "get_output_embeddings"), _weight(tree, "get_input_embeddings")
    if head is None or embedding is None:
        return None
    return any(head in group and embedding in group for group in tree.ties)


def _head_size(tree: ModuleTree) -> int:
    head = _weight(tree, "get_output_embeddings")
    return math.prod(tree.shapes_of({head})[head]) if head is not None else 0


def _weight(tree: ModuleTree, accessor: str) -> str | None:
    """The weight of the module that an accessor answered with."""
    path = tree.accessors.get(accessor)
    node = tree.find(path) if path is not None else None
    if path is None or node is None or node.shape("weight") is None:
        return None
    return f"{path}.weight" if path else "weight"


def _leaves(stated: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str, Any]]:
    """Every value: its path, its key, itself."""
    for key, value in stated.items():
        at = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping):
            if at.count(".") < _DEEPEST:
                yield from _leaves(value, at)
        else:
            yield at, str(key), value
