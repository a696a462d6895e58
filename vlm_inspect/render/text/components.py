"""A component, and all components of a role, as one cell of a table."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from vlm_inspect.core.architecture import Architecture, Component, Connection, Layer, LayerStack, Role
from vlm_inspect.core.module_tree import last_name
from vlm_inspect.render.cells import Cell, code, concat, join, text
from vlm_inspect.render.text.layers import attention_class, distinct, mlp_cell, norms_cell, stack_cell
from vlm_inspect.render.text.stages import embeddings_cell, stages_cell, times_cell
from vlm_inspect.render.text.steps import norm_cell
from vlm_inspect.render.text.values import ABSENT, MAX_VARIANTS, class_cell, collapse_similar, missing, plural

Describe = Callable[[Component], Cell]

ROLE_NAMES = {role: role.value.replace("_", " ").capitalize() for role in Role} | {Role.LM_HEAD: "LM head"}

_CODEC_HALF = re.compile(r"(?:^|\.)(encoder|decoder)(?=\.)")
_MAX_STACKS = 3


def numbered_role_names(roles: Sequence[Role]) -> list[str]:
    """The name of each role, numbered if the role occurs more than once: `Projector 2`."""
    return [
        ROLE_NAMES[role] + (f" {roles[: index + 1].count(role)}" if roles.count(role) > 1 else "")
        for index, role in enumerate(roles)
    ]


def of_role(architecture: Architecture, role: Role, describe: Describe, *, show_counts: bool = False) -> Cell:
    """Describe the components of a role: equal cells once, different ones with a plus between them.

    `show_counts` keeps the number of equal components: `` 2 x `CLIPVisionModel` ``.
    """
    components = architecture.by_role(role)
    if not components:
        otherwise = {"otherwise": ABSENT} if role.value in architecture.absent else {}
        return missing(role.value, architecture.unknown, **otherwise)
    cells = [describe(component) for component in components]
    counts = {cell: cells.count(cell) for cell in cells}
    if not show_counts and len(counts) == 1:
        return cells[0]
    return join((times_cell(cell, count) for cell, count in counts.items()), " + ")


def of_projectors(architecture: Architecture, describe: Describe) -> Cell:
    """Describe the projectors: steps of one sequence with a plus, sequences side by side with what each reads."""
    parts = architecture.by_role(Role.PROJECTOR)
    ends = [part for part in parts if part.connection is not None and part.connection.feeds is None]
    if len(ends) < 2 and not any(_has_branches(part) for part in parts):  # noqa: PLR2004 - one sequence
        return of_role(architecture, Role.PROJECTOR, describe, show_counts=True)
    sequences = [(end, _sequence(end, parts, describe)) for end in ends]
    if len(ends) == 1:
        return sequences[0][1]
    named = (concat(_source(end, ends), text(": "), cell) for end, cell in sequences)
    return join(named, "; ")


def encoder_layers(connection: Connection) -> Cell:
    """`layers 8, 16, 24`: the encoder layers that a list of projectors reads."""
    return text(f"layers {', '.join(map(str, connection.layers))}")


def _has_branches(part: Component) -> bool:
    """Whether a projector joins the outputs of several others."""
    return part.connection is not None and len(part.connection.reads) > 1


def _sequence(end: Component, parts: Sequence[Component], describe: Describe) -> Cell:
    """The steps that end with a projector; what joins several sequences comes after all of them."""
    before = [part for part in parts if part.connection is not None and part.connection.feeds in end.paths]
    cells = [_sequence(part, parts, describe) for part in before]
    joined = concat(text("("), join(cells, " beside "), text(")")) if len(cells) > 1 else join(cells, "")
    return join([joined, describe(end)], " + ") if cells else describe(end)


def _source(part: Component, parts: Sequence[Component]) -> Cell:
    """`image`, `image, layers 8, 16, 24`, `` audio, `up_proj_for_speech` ``: what tells it from the others."""
    connection = part.connection or Connection()
    names = (text(connection.modality),) if connection.modality else ()
    if connection.layers:
        return join([*names, encoder_layers(connection)], ", ")
    alike = [
        other
        for other in parts
        if other.connection is not None
        and other.connection.modality == connection.modality
        and not other.connection.layers
    ]
    return join([*names, code(last_name(part.paths[0]))], ", ") if len(alike) > 1 or not names else names[0]


def component_class(component: Component) -> Cell:
    """`` `CLIPVisionModel` ``."""
    return class_cell(component.class_name, component.unknown)


def layers(component: Component) -> Cell:
    """`24 layers`; several stacks in order, of many stacks only the depths."""
    if not component.stacks:
        return missing("stacks", component.unknown)
    if len(component.stacks) > _MAX_STACKS:
        return text(depths(component))
    separator = "; " if any(len(stack.kinds) > 1 for stack in component.stacks) else " + "
    cells = (
        concat(text(prefix), stack_cell(stack) if noun == "layer" else text(plural(stack.count, noun)))
        for (prefix, noun), stack in zip(_stack_names(component.stacks), component.stacks, strict=True)
    )
    return join(cells, separator)


def depths(component: Component) -> str:
    """`24 layers`, `2 + 12 + 24 layers`, `encoder 12 + decoder 12 layers`."""
    names = _stack_names(component.stacks)
    named = zip(names, component.stacks, strict=True)
    counts = " + ".join(f"{prefix}{stack.count}" for (prefix, _), stack in named)
    return f"{counts} {names[-1][1]}{'' if counts == '1' else 's'}"


def embeddings(component: Component) -> Cell:
    """`Conv2d(3, 1024) + Embedding(577)`."""
    found = component.embeddings
    return embeddings_cell(found) if found else missing("embeddings", component.unknown)


def attention(component: Component) -> Cell:
    """The attention classes of the component's layers."""
    return _of_layers(component, attention_class)


def mlp(component: Component) -> Cell:
    """The MLPs of the component's layers."""
    return _of_layers(component, mlp_cell)


def norms(component: Component) -> Cell:
    """The norms of the component's layers; if there are many, each one on its own."""
    cells = list(dict.fromkeys(norm_cell(norm) for layer in component.layers for norm in layer.norms))
    if len(cells) > MAX_VARIANTS:
        return join(collapse_similar(cells), " / ")
    return _of_layers(component, norms_cell)


def projector(component: Component) -> Cell:
    """The steps of a projector; its class if no steps are known."""
    if component.stages:
        return stages_cell(component.stages, ", " if "stage_order" in component.unknown else " + ")
    reasons = component.unknown if component.class_name is None else {}
    return missing("stages", reasons, otherwise=component_class(component))


def head(component: Component) -> Cell:
    """`Linear(4096 -> 32064)`, and whether its weight is tied to the embedding."""
    return concat(projector(component), text(", tied")) if component.head else projector(component)


def _stack_names(stacks: Sequence[LayerStack]) -> list[tuple[str, str]]:
    """(prefix, noun) of each stack: encoder and decoder, or cross-attention and self-attention layers."""
    halves = [next(iter(_CODEC_HALF.findall(stack.path)), "") for stack in stacks]
    if sorted(halves) == ["decoder", "encoder"]:
        return [(f"{half} ", "layer") for half in halves]
    is_cross = [all(kind.attention and kind.attention.cross for kind in stack.kinds) for stack in stacks]
    return [("", "cross-attention layer" if cross and not all(is_cross) else "layer") for cross in is_cross]


def _of_layers(component: Component, describe: Callable[[Layer], Cell]) -> Cell:
    return distinct(component.layers, describe) if component.layers else missing("stacks", component.unknown)
