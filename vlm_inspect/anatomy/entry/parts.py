"""What is done with images, videos and sounds before they meet the text: by which parts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vlm_inspect.anatomy.entry.joined import modality_of
from vlm_inspect.anatomy.leaves import embedding_sizes
from vlm_inspect.architecture import Component, Evidence, FusionStep, Modality, Role
from vlm_inspect.tree import ModuleTree

Step = tuple[FusionStep, Evidence]

_TOWERS: Mapping[Role, Modality] = {Role.VISION_ENCODER: "image", Role.AUDIO_ENCODER: "audio"}
_MERGED = re.compile(r"(pooling_kernel|merge)_size$")
_QUERIES = re.compile(r"(^|_)(query|queries|latents?)(_|$)")
_CHANNELS = 3


def steps_before(tree: ModuleTree, components: Sequence[Component], modality: Modality) -> Iterator[Step]:
    """What is done with the features before they meet the text."""
    towers = towers_of(components, modality)
    serving = [part for part in components if is_projector_of(part, modality, components)]
    for part in () if towers else serving:
        patch = _patch(tree, part)
        if patch is not None:
            detail = f"no {sense(modality)} encoder: {part.paths[0]} reads {patch}"
            yield "patches", Evidence(f"{modality}: patches", "structure", detail)
    for part in (*towers, *serving):
        queries = next(_queries(tree, part), None)
        if queries is not None:
            path, count = queries
            yield "queries", Evidence(f"{modality}: queries", "structure", f"{count} learned queries: {path}")


def _queries(tree: ModuleTree, part: Component) -> Iterator[tuple[str, int]]:
    """The learned query tokens of a part, as many as there are: a parameter or a table of that name."""
    for path in part.paths:
        node = tree.find(path)
        shapes = node.parameter_paths(path) if node is not None else tree.shapes_of({path}).items()
        for at, shape in shapes:
            name = at.removesuffix(".weight").rpartition(".")[2]
            is_table = not at.endswith(".weight") or _is_embedding(tree, at.removesuffix(".weight"))
            if len(shape) > 1 and is_table and _QUERIES.search(name):
                yield at, shape[-2]


def _is_embedding(tree: ModuleTree, path: str) -> bool:
    node = tree.find(path)
    return node is not None and embedding_sizes(node) is not None


def towers_of(components: Sequence[Component], modality: Modality) -> list[Component]:
    """The encoders of a modality."""
    return [part for part in components if _TOWERS.get(part.role) == sense(modality)]


def _patch(tree: ModuleTree, projector: Component) -> str | None:
    """The raw patches that a projector reads: its input is as wide as one has values."""
    given = next((stage.input_width for stage in projector.stages if stage.input_width), None)
    for config in (tree.config, *(part for part in tree.config.values() if isinstance(part, Mapping))):
        for side in _patch_sides(config):
            if given == side * side * _CHANNELS:
                return f"patches of {side} x {side} pixels, {given} values each"
    return None


def _patch_sides(config: Mapping[str, Any]) -> Iterator[int]:
    """A patch's side in pixels: alone, and as many together as are merged to one."""
    sides = [value for key, value in config.items() if "patch_size" in str(key) and _is_whole(value)]
    merged = [value for key, value in config.items() if _MERGED.search(str(key)) and _is_whole(value)]
    yield from (side * factor for side in sides for factor in (1, *merged))


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def sense(modality: Modality) -> Modality:
    """Videos go through the images' modules."""
    return "image" if modality == "video" else modality


def is_projector_of(part: Component, modality: Modality, components: Sequence[Component]) -> bool:
    """Whether a part is a projector, and this modality's: by its name, or because there is no other."""
    if part.role is not Role.PROJECTOR:
        return False
    named = modality_of([*".".join(part.paths).split("."), *_words(part.class_name or "")])
    if named:
        return sense(modality) in named or modality in named
    others = {_TOWERS[each.role] for each in components if each.role in _TOWERS} - {sense(modality)}
    return not others or sense(modality) == "image"


def _words(class_name: str) -> list[str]:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", class_name).lower().split("_")
