"""Mark what a tree's builder could not know as unknown in the record.

Two cases: modules whose class, shapes or settings are not known (a tree from safetensors headers), and
modules that could not be built at all. The rest of `anatomy` reads an inferred module (`?Attention`) like a
real one; here its class name is replaced by the reason why it is unknown.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from vlm_inspect.anatomy.roles import name_patterns
from vlm_inspect.anatomy.roles.assignments import RoleAssignment, owner_of
from vlm_inspect.anatomy.stored_weights import quantized_sizes
from vlm_inspect.core.architecture import (
    ENCODER_MODALITIES,
    ENCODERS,
    TEXT_ROLES,
    Architecture,
    Attention,
    Component,
    ImageInput,
    Layer,
    Mlp,
    Norm,
    Parameters,
    Role,
)
from vlm_inspect.core.module_tree import INFERRED, ModuleTree, Unknowns, ancestors, is_below, last_name, parent_path
from vlm_inspect.core.stages import NormStage

_ACTIVATION = "activations leave no trace in headers"
_EPS = "headers hold no eps"
_HEADS = "headers do not say how many heads share a projection"
_IMAGE_SIZE = "headers hold no size of images"
_RUN_CODE = (
    "Its names and shapes do not show which part is the language model. Its code does: --trust-remote-code runs it in "
    "a sandbox."
)
_NO_EMBEDDING = "no tensor has the name or the size of a text embedding"
_WITH_STAGES = frozenset({Role.PROJECTOR, Role.LM_HEAD})
_WITH_EMBEDDINGS = ENCODERS | {Role.LANGUAGE_MODEL}


def apply_unknowns(architecture: Architecture, tree: ModuleTree) -> Architecture:
    """Mark what the builder did not know; a record without unknowns is returned as it is."""
    unknowns, parameters = tree.unknowns, architecture.parameters
    if unknowns == Unknowns() and not tree.stored_bytes:
        return architecture
    components = tuple(_mark_components(architecture.components, tree))
    unknown, notes = dict(unknowns.fields), architecture.notes
    if unknowns.shapes:
        why = next(iter(unknowns.shapes.values()))
        # a module of unknown shape may have the role that was not found
        unknown |= dict.fromkeys(architecture.absent, why)
        parameters = _mark_parameters(parameters, ("total", "active"), why)
    elif unknowns.classes and (without_role := _largest_without_role(components)):
        # so may a module whose name and tensors do not show its purpose
        why = f"no name, class or shape shows the purpose of {without_role}"
        unknown |= dict.fromkeys(architecture.absent, why)
        if Role.LANGUAGE_MODEL.value in architecture.absent and tree.config.get("auto_map"):
            notes = (*notes, _RUN_CODE)
    if (architecture.model_class or "").startswith(INFERRED):
        unknown["model_class"] = _why_class_unknown(unknowns, "")
    inferred = next((path for path, node in tree.root.walk() if node.inferred), None)
    return replace(
        architecture,
        model_class=None if "model_class" in unknown else architecture.model_class,
        attention_backends=None if "attention_backends" in unknown else architecture.attention_backends,
        unnamed_modules=_why_class_unknown(unknowns, inferred) if inferred is not None else None,
        components=components,
        notes=notes,
        parameters=parameters,
        absent={role: why for role, why in architecture.absent.items() if role not in unknown},
        unknown={**architecture.unknown, **unknown},
    )


def _largest_without_role(components: Sequence[Component]) -> str | None:
    """The path of the largest module whose purpose does not show; layers behind an encoder may be anything."""
    others = [part for part in components if part.role is Role.OTHER or (part.role is Role.TASK_HEAD and part.stacks)]
    return max(others, key=lambda part: part.parameters or 0).paths[0] if others else None


def _mark_components(components: Sequence[Component], tree: ModuleTree) -> Iterator[Component]:
    owners = {path: index for index, component in enumerate(components) for path in component.paths}
    uncountable: dict[int | None, str] = {}
    for path, reason in tree.unknowns.shapes.items():
        uncountable.setdefault(owner_of(path, owners), reason)
    stored: defaultdict[int | None, Counter[str]] = defaultdict(Counter)
    quantized: Counter[int | None] = Counter()
    for path, size in quantized_sizes(tree).items():
        quantized[owner_of(path, owners)] += size
    for path, sizes in tree.stored_bytes.items():
        owner = owner_of(path, owners)
        stored[_nearest(path, components) if owner is None else owner].update(sizes)
    for index, component in enumerate(components):
        why = uncountable.get(index, "")
        path = component.paths[0] if component.paths else ""
        sized = _without_sizes(component, why) if why else component
        if component.role is Role.LANGUAGE_MODEL and not component.embeddings and "embeddings" not in sized.unknown:
            sized = replace(sized, unknown={**sized.unknown, "embeddings": _NO_EMBEDDING})
        marked = _Marker(tree.unknowns, why).mark(sized, path)
        marked = replace(marked, stored_bytes=dict(sorted(stored[index].items())))
        is_counted = tree.stored_bytes and not why
        yield replace(marked, quantized_parameters=quantized[index]) if is_counted else marked


def _nearest(path: str, components: Sequence[Component]) -> int | None:
    """The component next to a buffer that is in none of them; of several the largest."""
    holders = list(ancestors(parent_path(path)))

    def match(index: int) -> tuple[int, int]:
        component = components[index]
        shared = (sum(is_below(at, holder) for holder in holders) for at in component.paths)
        return max(shared, default=0), component.parameters or 0

    return max(range(len(components)), key=match, default=None)


def _mark_parameters(parameters: Parameters, fields: Sequence[str], why: str) -> Parameters:
    unknown = {**parameters.unknown, **dict.fromkeys(fields, why)}
    return replace(parameters, **dict.fromkeys(fields), unknown=unknown)


def _why_class_unknown(unknowns: Unknowns, path: str) -> str:
    """The reason at a path: its own or the nearest above, else one below, else the root's."""
    at = path
    while at and at not in unknowns.classes:
        at = parent_path(at)
    if at:
        return unknowns.classes[at]
    below = (why for place, why in unknowns.classes.items() if path and is_below(place, path))
    return next(below, unknowns.classes.get("", ""))


def _without_sizes(component: Component, reason: str) -> Component:
    """Mark the fields that are derived from shapes: without shapes, not found does not mean absent."""
    unknown = dict(component.unknown)
    stages = tuple(stage for stage in component.stages if stage.output_width is not None)
    if not stages and component.role in _WITH_STAGES:
        unknown["stages"] = reason
    if not component.embeddings and component.role in _WITH_EMBEDDINGS:
        unknown["embeddings"] = reason
    if component.width is None and component.stacks:
        unknown["width"] = reason
    return replace(component, stages=stages, unknown=unknown)


class _Marker(Struct, frozen=True):
    """Marks what is inferred or uncountable, in a component and in all records inside it."""

    unknowns: Unknowns
    uncountable: str
    """Why the component's parameters cannot be counted; empty if they can."""

    def mark(self, record: Any, path: str) -> Any:
        """The record with its unknowns; `path` is that of its module, or of the module around it."""
        if isinstance(record, tuple):
            return tuple(self.mark(each, path) for each in record)
        if not isinstance(record, Struct):
            return record
        at = getattr(record, "path", "") or path
        changed = {name: self.mark(getattr(record, name), at) for name in record.__struct_fields__}
        values, reasons = self._unknown_fields(record, at)
        changed |= values
        if reasons:
            changed["unknown"] = reasons
        return replace(record, **changed)

    def _unknown_fields(self, record: Any, path: str) -> tuple[dict[str, Any], dict[str, str]]:
        """New values of one record's fields, and its reasons with those that it had."""
        values: dict[str, Any] = {}
        reasons: dict[str, str] = {}
        for field in ("class_name", "router"):
            if str(getattr(record, field, "")).startswith(INFERRED):
                values[field], reasons[field] = None, _why_class_unknown(self.unknowns, path)
        if self.uncountable:
            reasons |= dict.fromkeys(_uncountable_fields(record), self.uncountable)
            values |= dict.fromkeys({"parameters", "active"} & reasons.keys())
        match record:
            case Attention():
                reasons = dict.fromkeys(_unknown_head_fields(record), _HEADS) | {**record.unknown, **reasons}
            case Component(role=Role.VISION_ENCODER) if not (record.image and record.image.size):
                values["image"] = replace(record.image or ImageInput(), unknown={"size": _IMAGE_SIZE})
            case Norm(eps=None) | NormStage(eps=None):
                reasons["eps"] = _EPS
            case Mlp(activation=None):
                reasons["activation"] = _ACTIVATION
        return values, {**getattr(record, "unknown", {}), **reasons}


def _uncountable_fields(record: Any) -> tuple[str, ...]:
    """The fields of a record that cannot be known without parameter shapes."""
    fields = ["parameters"] if isinstance(getattr(record, "parameters", None), int) else []
    if isinstance(record, Component):
        fields.append("active")
    if isinstance(record, Layer):
        fields += [name for name in ("norms", "mlp", "attention") if not getattr(record, name)]
    return tuple(fields)


def _unknown_head_fields(attention: Attention) -> list[str]:
    """The fields of an attention whose number of heads neither shapes nor the configuration give."""
    if attention.mechanism != "attention" or attention.heads is not None:
        return []
    fields = ("kind", "heads", "head_width", *(() if attention.latent else ("key_value_heads",)))
    return [name for name in fields if getattr(attention, name) is None]


def assign_missing_modules(tree: ModuleTree, assigned: Collection[str]) -> tuple[RoleAssignment, ...]:
    """Assign roles to modules that were not built, by accessor or by name: they have no structure."""
    return tuple(_assign_missing(tree, path) for path in tree.missing_modules if path not in assigned)


def _assign_missing(tree: ModuleTree, path: str) -> RoleAssignment:
    for modality, role in ENCODER_MODALITIES:
        if tree.accessors.get(f"get_encoder({modality})") == path:
            detail = f'get_encoder(modality="{modality}") returned {path}'
            return RoleAssignment(role, (path,), "accessor", detail)
    name = last_name(path)
    for role, pattern in name_patterns.ROLE_NAMES:
        if pattern.search(name):
            return RoleAssignment(role, (path,), "name", f"the name {name!r}")
    detail = "it was not built, and neither an accessor nor its name gives a role"
    return RoleAssignment(Role.OTHER, (path,), "structure", detail)


def apply_missing_modules(architecture: Architecture, tree: ModuleTree) -> Architecture:
    """Mark the modules that were not built; a complete record is returned as it is."""
    if not tree.missing_modules:
        return architecture
    why = next(iter(tree.missing_modules.values()))
    positions = {path: index for index, (path, _) in enumerate(tree.root.walk())}

    def position(component: Component) -> tuple[bool, int]:
        path = component.paths[0]
        at = positions[path if path in positions else parent_path(path)]
        return component.role is Role.OTHER, at

    components = [_mark_missing(each, tree) for each in sorted(architecture.components, key=position)]
    text_was_built = all("parameters" not in part.unknown for part in components if part.role in TEXT_ROLES)
    fields = ("total",) if text_was_built else ("total", "active")
    return replace(
        architecture,
        components=tuple(components),
        parameters=_mark_parameters(architecture.parameters, fields, why),
        absent={},
        # a module that was not built may have the role that was not found
        unknown={**architecture.unknown, **dict.fromkeys(architecture.absent, why)},
    )


def _mark_missing(component: Component, tree: ModuleTree) -> Component:
    why = next((tree.missing_modules[path] for path in component.paths if path in tree.missing_modules), None)
    if why is None:
        return component
    fields = ("stages",) if component.role in _WITH_STAGES else ("stacks", "embeddings")
    unknown = {**component.unknown, **dict.fromkeys(("parameters", "active", *fields), why)}
    return replace(component, parameters=None, active=None, unknown=unknown)
