"""`show`: one model in full, as data. A card becomes a page of tables, or what a terminal shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from vlm_inspect.architecture import Architecture, Component, Role
from vlm_inspect.render.cells import Cell, code, concat, text
from vlm_inspect.render.comparison import flash_attention, parameters
from vlm_inspect.render.component_lines import Line, active_line, component_lines
from vlm_inspect.render.entry_wording import entry_lines
from vlm_inspect.render.figures import exact_count, share
from vlm_inspect.render.misreadings import misreading, quantization_words
from vlm_inspect.render.states import missing
from vlm_inspect.render.ties import tie_cells
from vlm_inspect.render.wording import component_class

_ROLE_NAMES = {
    Role.VISION_ENCODER: "Vision encoder",
    Role.AUDIO_ENCODER: "Audio encoder",
    Role.PROJECTOR: "Projector",
    Role.LANGUAGE_MODEL: "Language model",
    Role.LM_HEAD: "LM head",
    Role.TASK_HEAD: "Task head",
    Role.GENERATOR: "Generator",
    Role.OTHER: "Other",
}
_SOURCES: Mapping[str, str] = {
    "hub": "the Hub",
    "local": "a local config.json",
    "catalogue": "the built-in catalogue",
    "snapshot": "a snapshot file",
}
_BUILDERS = {
    "transformers": "transformers' own class",
    "remote-code": "the class in the model's own repo",
    "header": "the checkpoint's headers",
    "config": "the configuration alone",
}


class Section(Struct, frozen=True):
    """One component: its part of the parameters, and what is known of it."""

    title: str
    class_name: Cell
    parameters: int | None
    count: Cell
    """The parameters as text, or why there is no count."""
    percent: str
    paths: tuple[str, ...]
    lines: tuple[Line, ...]
    evidence: tuple[str, ...] = ()
    """Why the component was taken for what it is; empty where nobody asked."""


class Card(Struct, frozen=True):
    """One model, ready to be shown."""

    name: str
    headline: Cell
    """The class and the total in short, or why there is none."""
    about: tuple[Line, ...]
    total: int | None
    sections: tuple[Section, ...]
    absent: tuple[Line, ...] = ()
    """Roles that the model does not have, and how that is known."""
    unknown: tuple[Line, ...] = ()
    """Roles that could not be told, and why."""
    ties: tuple[Cell, ...] = ()
    notes: tuple[str, ...] = ()
    warning: str = ""
    """Why this may not be the model; empty where nothing says so."""


def build_card(architecture: Architecture, *, name: str | None = None, explain: bool = False) -> Card:
    """The card of a model; `explain` adds why each component was taken for what it is."""
    return Card(
        name=name or architecture.model.id,
        headline=_headline(architecture),
        about=(*_about(architecture), *entry_lines(architecture, explain=explain)),
        total=architecture.parameters.total,
        sections=tuple(_sections(architecture, explain=explain)),
        absent=tuple(_roles(architecture.absent)),
        unknown=tuple(_roles(architecture.unknown)),
        ties=tie_cells(architecture.parameters.ties),
        notes=architecture.notes,
        warning=misreading(architecture) or "",
    )


def _headline(architecture: Architecture) -> Cell:
    named = architecture.model_class
    class_name = code(named) if named else missing("model_class", architecture.unknown)
    count = parameters(architecture)
    known = architecture.parameters.total is not None
    return concat(
        class_name, text(", "), *((count, text(" parameters")) if known else (text("parameters "), count))
    )


def _about(architecture: Architecture) -> Iterator[Line]:
    if architecture.model_type:
        yield "Model type", code(architecture.model_type)
    if architecture.model.revision:
        yield "Commit", code(architecture.model.revision)
    yield "Source", text(_SOURCES[architecture.model.source])
    libraries = {name: number for name, number in architecture.versions.items() if name != "vlm_inspect"}
    versions = ", ".join(f"{package} {number}" for package, number in libraries.items())
    yield "Built from", text(_BUILDERS[architecture.builder] + (f" ({versions})" if versions else ""))
    if any(part.active != part.parameters or "active" in part.unknown for part in architecture.components):
        yield from active_line(architecture.parameters.active, None, architecture.parameters.unknown)
    yield "Flash attention", flash_attention(architecture)
    if architecture.quantization:
        yield "Quantization", text(quantization_words(architecture.quantization))


def _sections(architecture: Architecture, *, explain: bool) -> Iterator[Section]:
    total = architecture.parameters.total
    for title, component in _titled(architecture.components):
        count = component.parameters
        yield Section(
            title=title,
            class_name=component_class(component),
            parameters=count,
            count=missing("parameters", component.unknown) if count is None else text(exact_count(count)),
            percent=share(count, total) if count is not None and total else "",
            paths=component.paths,
            lines=tuple(component_lines(component)),
            evidence=tuple(_evidence(component)) if explain else (),
        )


def _titled(components: Sequence[Component]) -> Iterator[tuple[str, Component]]:
    """Each component with its role's name, numbered where it is not the only one."""
    roles = [component.role for component in components]
    for index, component in enumerate(components):
        number = f" {roles[: index + 1].count(component.role)}" if roles.count(component.role) > 1 else ""
        yield _ROLE_NAMES[component.role] + number, component


def _evidence(component: Component) -> Iterator[str]:
    for evidence in component.evidence:
        yield f"{evidence.finding}, by {evidence.rule}: {evidence.detail}"


def _roles(reasons: Mapping[str, str]) -> Iterator[Line]:
    for role, name in _ROLE_NAMES.items():
        if role.value in reasons:
            yield name, text(reasons[role.value])
