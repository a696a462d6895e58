"""Whether the head is a parameter of its own: what config.json says, the class builds and the checkpoint stores.

transformers 5 decides when it loads a checkpoint. A class that ties the head to the embedding leaves both apart
if the checkpoint stores both with different values; a class that does not tie a head that is not stored
initializes it newly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from vlm_inspect.builders.config_values import tie_settings
from vlm_inspect.core.module_tree import ModuleTree


class Head(Struct, frozen=True):
    """The weight of the output embeddings."""

    path: str
    others: tuple[str, ...]
    """The parameters that it is tied to; if it is not tied, the input embeddings."""
    is_tied: bool
    size: int


def find_head(tree: ModuleTree) -> Head | None:
    """Return the head of a built class; None if its accessors name no head or no embedding."""
    path, embedding = (_weight(tree, f"get_{which}_embeddings") for which in ("output", "input"))
    if path is None or embedding is None:
        return None
    group = next((group for group in tree.ties if path in group), None)
    others = (embedding,) if group is None else tuple(each for each in group if each != path)
    return Head(path, others, group is not None, math.prod(tree.shapes_of({path})[path]))


def uncertainty(config: Mapping[str, Any], tree: ModuleTree) -> str | None:
    """Return why the number of parameters depends on the checkpoint; None if config.json states the tie.

    It depends on it if the class ties the head by default, or if what config.json says differs from what
    the class builds.
    """
    head = find_head(tree)
    statement = _statement(config, tree, head) if head is not None else None
    if head is None or statement is None:
        return None
    if head.is_tied:
        return f"{statement}. A checkpoint that stores a head of its own has {head.size:,} parameters more."
    return f"{statement}. A checkpoint without a head has {head.size:,} parameters fewer."


def decide(config: Mapping[str, Any], tree: ModuleTree, stored: AbstractSet[str]) -> ModuleTree:
    """Return the tree with the ties that a checkpoint leaves, from the paths that it stores tensors for.

    Unchanged if it stores neither the head nor the embedding: its names are then those of another model.
    """
    head = find_head(tree)
    if head is None or stored.isdisjoint((head.path, *head.others)):
        return tree
    statement, size = _statement(config, tree, head), f"{head.size:,} parameters"
    if head.is_tied and head.path in stored and not stored.isdisjoint(head.others):
        tree = untie(tree, head.path)
        note = (
            f"{statement}. The checkpoint stores {head.path} separately, so its {size} are counted: "
            "the loader unties the two where their values differ."
        )
    elif head.is_tied:
        note = f"{statement}. The checkpoint stores one of the two." if tie_settings(config) else ""
    elif head.path in stored:
        note = f"{statement}. The checkpoint stores {head.path}."
    else:
        note = f"{statement}. The checkpoint stores no head: the loader initializes its {size} newly."
    return replace(tree, notes=(*tree.notes, note) if note else tree.notes, uncertain=None)


def untie(tree: ModuleTree, path: str) -> ModuleTree:
    """Return the tree with a parameter that is tied to no other one."""
    groups = (tuple(each for each in group if each != path) for group in tree.ties)
    return replace(tree, ties=tuple(group for group in groups if len(group) > 1))


def with_tied_head(tree: ModuleTree, *, is_tied: bool) -> ModuleTree:
    """Return the tree with its head tied to the embedding, or apart from it."""
    head = find_head(tree)
    if head is None or head.is_tied == is_tied:
        return tree
    if not is_tied:
        return untie(tree, head.path)
    tied = {head.path, *head.others}
    others = [group for group in tree.ties if tied.isdisjoint(group)]
    tied.update(path for group in tree.ties if group not in others for path in group)
    # the first of a group is counted
    return replace(tree, ties=(*others, tuple(path for path, _ in tree.root.parameter_paths() if path in tied)))


def _statement(config: Mapping[str, Any], tree: ModuleTree, head: Head) -> str | None:
    """What config.json says and the class builds; None if the two agree."""
    settings, name = tie_settings(config), tree.root.class_name
    if settings:
        if set(settings.values()) == {head.is_tied}:
            return None
        listed = " and ".join(f"{path} {str(value).lower()}" for path, value in settings.items())
        what = "ties the head to the embedding" if head.is_tied else "builds the head apart from the embedding"
        return f"config.json says {listed}; {name} {what}"
    if not head.is_tied:
        return None
    return f"config.json does not say whether the head is tied to the embedding; {name} ties it by default"


def _weight(tree: ModuleTree, accessor: str) -> str | None:
    """The path of the weight of the module that an accessor returns."""
    path = tree.accessors.get(accessor)
    node = tree.find(path) if path is not None else None
    if path is None or node is None or node.shape("weight") is None:
        return None
    return f"{path}.weight" if path else "weight"
