"""Notes on layers for multi-token prediction, which a checkpoint holds and a class for generating text omits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vlm_inspect.builders.config_values import flat_values
from vlm_inspect.builders.transformers import key_words
from vlm_inspect.core.module_tree import ModuleNode, ModuleTree


def not_built(config: Mapping[str, Any], tree: ModuleTree) -> Iterator[str]:
    """Yield a sentence if config.json states such layers and the class builds none."""
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
