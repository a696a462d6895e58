"""Parts that could not be built here, as components whose insides are unknown.

They keep their place, their role and their class; what they hold is null with the reason, and so is
what it would add to. Every other component is as exact as ever.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from vlm_inspect.anatomy.roles import field_names as names
from vlm_inspect.anatomy.roles.claims import Claim
from vlm_inspect.architecture import TEXT_ROLES, Architecture, Component, Parameters, Role
from vlm_inspect.tree import ModuleTree

_INSIDES = ("parameters", "active", "stacks", "embeddings")
_STEPS = ("parameters", "active", "stages")
_NAMES = (
    (Role.PROJECTOR, names.PROJECTOR),
    (Role.AUDIO_ENCODER, names.AUDIO),
    (Role.VISION_ENCODER, names.VISION),
    (Role.LANGUAGE_MODEL, names.LANGUAGE),
)


def unbuilt_parts(tree: ModuleTree, claimed: Sequence[str]) -> tuple[Claim, ...]:
    """The parts that were not built. Structure says nothing of them: accessors and names do."""
    return tuple(_claim(tree, path) for path in tree.missing_modules if path not in claimed)


def _claim(tree: ModuleTree, path: str) -> Claim:
    for modality, role in (
        ("image", Role.VISION_ENCODER),
        ("video", Role.VISION_ENCODER),
        ("audio", Role.AUDIO_ENCODER),
    ):
        if tree.accessors.get(f"get_encoder({modality})") == path:
            return Claim(role, (path,), "accessor", f'get_encoder(modality="{modality}") answered {path}')
    name = names.last(path)
    for role, pattern in _NAMES:
        if pattern.search(name):
            return Claim(role, (path,), "name", f"the name {name!r}")
    return Claim(Role.OTHER, (path,), "structure", "it was not built, and nothing else tells what it is")


def with_unbuilt(architecture: Architecture, tree: ModuleTree) -> Architecture:
    """The record with what was not built said to be unknown; as it is where everything was built."""
    if not tree.missing_modules:
        return architecture
    why = next(iter(tree.missing_modules.values()))
    components = tuple(_told(component, tree) for component in _in_order(architecture.components, tree))
    text_is_whole = all("parameters" not in part.unknown for part in components if part.role in TEXT_ROLES)
    return replace(
        architecture,
        components=components,
        parameters=_unknown_total(architecture.parameters, why, keep_active=text_is_whole),
        absent={},
        # what was not built may hold what was not found
        unknown={**architecture.unknown, **dict.fromkeys(architecture.absent, why)},
    )


def _in_order(components: Sequence[Component], tree: ModuleTree) -> list[Component]:
    """As they stand in the tree, what has no role last."""
    places = {path: index for index, (path, _) in enumerate(tree.root.walk())}

    def place(component: Component) -> tuple[bool, int]:
        path = component.paths[0]
        return component.role is Role.OTHER, places[path if path in places else path.rpartition(".")[0]]

    return sorted(components, key=place)


def _told(component: Component, tree: ModuleTree) -> Component:
    why = next((tree.missing_modules[path] for path in component.paths if path in tree.missing_modules), None)
    if why is None:
        return component
    fields = _STEPS if component.role in {Role.PROJECTOR, Role.LM_HEAD} else _INSIDES
    return replace(
        component, parameters=None, active=None, unknown={**component.unknown, **dict.fromkeys(fields, why)}
    )


def _unknown_total(parameters: Parameters, why: str, *, keep_active: bool) -> Parameters:
    told = replace(parameters, total=None, unknown={**parameters.unknown, "total": why})
    return told if keep_active else replace(told, active=None, unknown={**told.unknown, "active": why})
