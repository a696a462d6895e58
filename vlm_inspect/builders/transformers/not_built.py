"""Notes on what a class builds otherwise than its configuration suggests, though it read every key.

Two cases: layers for multi-token prediction, which a checkpoint holds and a class for generating text omits;
and a head whose tying contradicts the configuration, or follows defaults that disagree.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from vlm_inspect.builders.config_values import TEXT_PARTS, flat_values, tie_settings
from vlm_inspect.builders.transformers import key_words
from vlm_inspect.core.module_tree import ModuleNode, ModuleTree


def not_built(config: Mapping[str, Any], resolved: Any, tree: ModuleTree) -> tuple[str, ...]:
    """Return a sentence for each; `resolved` is the configuration as the classes read it."""
    return (*_prediction_notes(config, tree), *_tie_notes(config, resolved, tree))


def _prediction_notes(config: Mapping[str, Any], tree: ModuleTree) -> Iterator[str]:
    counts, depths = {}, set()
    for path, value in flat_values(config):
        key = path.rpartition(".")[2]
        if key_words.counts_prediction_layers(key) and isinstance(value, int) and value > 0:
            counts[path] = value
        elif key == "num_hidden_layers" and type(value) is int:
            depths.add(value)
    path, count = max(counts.items(), key=lambda item: item[1], default=("", 0))
    if count and not _builds_prediction_layers(tree.root, {depth + count for depth in depths}):
        layers = "1 layer" if count == 1 else f"{count} layers"
        yield (
            f"config.json states {layers} for predicting further tokens ({path}), which "
            f"{tree.root.class_name} does not build: what a checkpoint holds of them is not counted."
        )


def _builds_prediction_layers(root: ModuleNode, longer: set[int]) -> bool:
    """Whether there is a module of that name, or a stack that is longer by as many layers."""
    named = ((path.rpartition(".")[2].lower(), node) for path, node in root.walk())
    return any(
        any(word in name for word in ("mtp", "nextn", "multi_token"))
        or (name == "layers" and len(node.children) in longer)
        for name, node in named
    )


def _tie_notes(config: Mapping[str, Any], resolved: Any, tree: ModuleTree) -> Iterator[str]:
    head, embedding = _weight(tree, "get_output_embeddings"), _weight(tree, "get_input_embeddings")
    if head is None or embedding is None:
        return
    tied = any(head in group and embedding in group for group in tree.ties)
    size = math.prod(tree.shapes_of({head})[head])
    what = "ties the head to the embedding" if tied else "builds the head apart from the embedding"
    count = f"its {size:,} parameters are {'not counted again' if tied else 'counted'}"
    name, settings = tree.root.class_name, tie_settings(config)
    if settings and set(settings.values()) != {tied}:
        listed = " and ".join(f"{path} {str(value).lower()}" for path, value in settings.items())
        yield f"config.json says {listed}; {name} {what}, and {count}."
    elif not settings and _default_tie(resolved) not in {None, tied}:
        yield (
            "config.json does not say whether the head is tied, and the defaults of the model's class and of "
            f"its language model's disagree; {name} {what}, and {count}."
        )


def _default_tie(resolved: Any) -> bool | None:
    """The language model's `tie_word_embeddings` after its defaults are filled in.

    The whole model's is ignored: in transformers 4 it is true by default, and few models are tied.
    """
    parts = (getattr(resolved, name, None) for name in TEXT_PARTS)
    found = (getattr(part, "tie_word_embeddings", None) for part in parts)
    return next((value for value in found if isinstance(value, bool)), None)


def _weight(tree: ModuleTree, accessor: str) -> str | None:
    """The path of the weight of the module that an accessor returns."""
    path = tree.accessors.get(accessor)
    node = tree.find(path) if path is not None else None
    if path is None or node is None or node.shape("weight") is None:
        return None
    return f"{path}.weight" if path else "weight"
