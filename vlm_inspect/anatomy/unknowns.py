"""What a tree's builder could not tell, made unknown in the record: classes, sizes, counts.

The readers of this room see an inferred module (`?Attention`) as what it must be. Here its name goes, and
the reason comes in its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from vlm_inspect.anatomy.roles import names
from vlm_inspect.anatomy.roles.claims import Claim
from vlm_inspect.anatomy.roles.language import nearest
from vlm_inspect.core.architecture import (
    TEXT_ROLES,
    Architecture,
    Attention,
    Component,
    ImageInput,
    Layer,
    Mlp,
    Norm,
    NormStage,
    Parameters,
    Role,
)
from vlm_inspect.core.module_tree import INFERRED, ModuleTree, Unknowns, is_below

_ACTIVATION = "activations leave no trace in headers"
_EPS = "headers hold no eps"
_POSITIONS = "positions without parameters leave no trace in headers"
_HEADS = "headers do not say how many heads share a projection"
_IMAGE_SIZE = "headers hold no size of images"
_STAGED = frozenset({Role.PROJECTOR, Role.LM_HEAD})
_EMBEDDED = frozenset({Role.VISION_ENCODER, Role.AUDIO_ENCODER, Role.LANGUAGE_MODEL})


def apply_unknowns(architecture: Architecture, tree: ModuleTree) -> Architecture:
    """The record with what the tree's builder left open; the same one where it left nothing open."""
    if tree.unknowns == Unknowns() and not tree.stored_bytes:
        return architecture
    owner = {
        path: index for index, component in enumerate(architecture.components) for path in component.paths
    }
    unsized, stored = _unsized(tree.unknowns, owner), _stored(tree, owner)
    components = tuple(
        _component(component, tree.unknowns, unsized.get(index, ""), stored.get(index, {}))
        for index, component in enumerate(architecture.components)
    )
    open_fields = dict(tree.unknowns.fields)
    if tree.unknowns.shapes:  # a part may be among what is not known: not found is not absent
        open_fields |= dict.fromkeys(architecture.absent, next(iter(tree.unknowns.shapes.values())))
    if (architecture.model_class or "").startswith(INFERRED):
        open_fields["model_class"] = _reason(tree.unknowns, "")
    nameless = next((path for path, node in tree.root.walk() if node.inferred), None)
    return replace(
        architecture,
        model_class=None if "model_class" in open_fields else architecture.model_class,
        attention_backends=None if "attention_backends" in open_fields else architecture.attention_backends,
        unnamed_modules=_reason(tree.unknowns, nameless) if nameless is not None else None,
        components=components,
        parameters=_parameters(architecture.parameters, tree.unknowns),
        absent={role: why for role, why in architecture.absent.items() if role not in open_fields},
        unknown={**architecture.unknown, **open_fields},
    )


def _unsized(unknowns: Unknowns, owner: dict[str, int]) -> dict[int, str]:
    """For each component that owns a parameter of unknown shape: the first reason."""
    found: dict[int, str] = {}
    for path, reason in unknowns.shapes.items():
        holder = nearest(path, owner)
        if holder is not None:
            found.setdefault(owner[holder], reason)
    return found


def _stored(tree: ModuleTree, owner: dict[str, int]) -> dict[int, dict[str, int]]:
    """Dtype → bytes, for each component; what a component holds as a bare parameter counts by its module."""
    sums: dict[int, dict[str, int]] = {}
    for path, held in tree.stored_bytes.items():
        holder = nearest(path, owner)
        for dtype, size in held.items() if holder is not None else ():
            into = sums.setdefault(owner[holder or ""], {})
            into[dtype] = into.get(dtype, 0) + size
    return {index: dict(sorted(held.items())) for index, held in sums.items()}


def _parameters(parameters: Parameters, unknowns: Unknowns) -> Parameters:
    reason = next(iter(unknowns.shapes.values()), None)
    if reason is None:
        return parameters
    unknown = {**parameters.unknown, "total": reason, "active": reason}
    return replace(parameters, total=None, active=None, unknown=unknown)


def _reason(unknowns: Unknowns, path: str) -> str:
    """Why classes at a path are unknown: what is said of it, of the nearest above, or of one below."""
    at = path
    while at and at not in unknowns.classes:
        at = at.rpartition(".")[0]
    if at:
        return unknowns.classes[at]
    below = (why for place, why in unknowns.classes.items() if path and is_below(place, path))
    return next(below, unknowns.classes.get("", ""))


def _component(
    component: Component, unknowns: Unknowns, unsized: str, stored: Mapping[str, int]
) -> Component:
    if unsized:
        component = _without_sizes(component, unsized)
    opened: Component = _Marker(unknowns, unsized).open(
        component, component.paths[0] if component.paths else ""
    )
    return replace(opened, stored_bytes=stored)


def _without_sizes(component: Component, reason: str) -> Component:
    """Steps that are known by their sizes cannot be told without them: not found is not absent."""
    unknown = dict(component.unknown)
    stages = tuple(stage for stage in component.stages if stage.output_width is not None)
    if not stages and component.role in _STAGED:
        unknown["stages"] = reason
    if not component.embeddings and component.role in _EMBEDDED:
        unknown["embeddings"] = reason
    if component.width is None and component.stacks:
        unknown["width"] = reason
    return replace(component, stages=stages, unknown=unknown)


class _Marker(Struct, frozen=True):
    """Makes unknown what is only inferred, in a component and in all records inside it."""

    unknowns: Unknowns
    unsized: str
    """Why its parameters cannot be counted; empty where they can."""

    def open(self, record: Any, path: str) -> Any:
        """The record with its unknowns; `path` is where the module is that it tells of, or the one around."""
        if isinstance(record, tuple):
            return tuple(self.open(each, path) for each in record)
        if not isinstance(record, Struct):
            return record
        at = getattr(record, "path", "") or path
        changed = {name: self.open(getattr(record, name), at) for name in record.__struct_fields__}
        changed.update(self._unknown(record, at))
        return replace(record, **changed)

    def _unknown(self, record: Any, path: str) -> dict[str, Any]:
        """The fields of one record that are unknown, and why."""
        changed: dict[str, Any] = {}
        reasons = dict(getattr(record, "unknown", {}))
        if str(getattr(record, "class_name", "")).startswith(INFERRED):
            changed["class_name"] = None
            reasons["class_name"] = _reason(self.unknowns, path)
        if self.unsized and isinstance(getattr(record, "parameters", None), int):
            changed["parameters"] = None
            reasons["parameters"] = self.unsized
        if self.unsized and isinstance(record, Component):
            changed["active"] = None
            reasons["active"] = self.unsized
        if isinstance(record, Attention) and record.positions == "none":
            changed["positions"] = None
            reasons["positions"] = _POSITIONS
        reasons = dict.fromkeys(_headless(record), _HEADS) | reasons
        if isinstance(record, Component) and record.role is Role.VISION_ENCODER:
            image = record.image or ImageInput()
            if not image.size:
                changed["image"] = replace(image, unknown={"size": _IMAGE_SIZE})
        if self.unsized and isinstance(record, Layer):
            parts = {"norms": record.norms, "mlp": record.mlp, "attention": record.attention}
            reasons |= {name: self.unsized for name, part in parts.items() if not part}
        if _lacks_eps(record):
            reasons["eps"] = _EPS
        if isinstance(record, Mlp) and record.activation is None:
            reasons["activation"] = _ACTIVATION
        return {**changed, "unknown": reasons} if reasons else changed


def _headless(record: Any) -> tuple[str, ...]:
    """What is not known of an attention whose heads neither shapes nor the configuration tell."""
    if not isinstance(record, Attention) or record.mechanism != "attention" or record.heads is not None:
        return ()
    names = ("kind", "heads", "head_width", *(() if record.latent else ("key_value_heads",)))
    return tuple(name for name in names if getattr(record, name) is None)


def _lacks_eps(record: Any) -> bool:
    return isinstance(record, Norm | NormStage) and record.eps is None


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
