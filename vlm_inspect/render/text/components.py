"""A component, and the components of a role, as one cell each.

Together with what it calls (`states`, `stage_wording`, `layer_wording`) the only author of cell text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from msgspec import Struct

from vlm_inspect.core.architecture import Architecture, Component, Layer, LayerStack, Role
from vlm_inspect.render.cells import Cell, concat, join, text
from vlm_inspect.render.text.layers import attention_class, distinct, mlp_cell, norms_cell, stack_cell
from vlm_inspect.render.text.steps import embeddings_cell, norm_cell, several, stages_cell
from vlm_inspect.render.text.values import ABSENT, MOST_WORDINGS, class_cell, counted, missing, shortened

Word = Callable[[Component], Cell]

_HALF = re.compile(r"(?:^|\.)(encoder|decoder)(?=\.)")
_MOST_STACKS = 3


def of_role(architecture: Architecture, role: Role, word: Word, *, counts: bool = False) -> Cell:
    """What the components of a role are, in order.

    `counts` is for what there are several of: two towers are `` 2 x `CLIPVisionModel` ``, and yet have
    one sort of attention.
    """
    components = architecture.by_role(role)
    if not components:
        otherwise = {"otherwise": ABSENT} if role.value in architecture.absent else {}
        return missing(role.value, architecture.unknown, **otherwise)
    return together([word(component) for component in components], counts=counts)


def together(cells: Sequence[Cell], *, counts: bool) -> Cell:
    """Cells of several components: equal ones once, different ones with a plus between them."""
    groups = {cell: cells.count(cell) for cell in cells}
    if not counts and len(groups) == 1:
        return cells[0]
    return join((several(cell, count) for cell, count in groups.items()), " + ")


def component_class(component: Component) -> Cell:
    """`` `CLIPVisionModel` ``."""
    return class_cell(component.class_name, component.unknown)


def layers(component: Component) -> Cell:
    """`24 layers`; several stacks in their order, of many their depths alone."""
    if not component.stacks:
        return missing("stacks", component.unknown)
    if len(component.stacks) > _MOST_STACKS:
        return text(depths(component))
    between = "; " if any(len(stack.kinds) > 1 for stack in component.stacks) else " + "
    named = zip(stack_names(component.stacks), component.stacks, strict=True)
    return join((concat(text(name.before), _stack(stack, name)) for name, stack in named), between)


def depths(component: Component) -> str:
    """`24 layers`, `2 + 12 + 24 layers`, `encoder 12 + decoder 12 layers`."""
    named = list(zip(stack_names(component.stacks), component.stacks, strict=True))
    told = " + ".join(f"{name.before}{stack.count}" for name, stack in named)
    return f"{told} {named[-1][0].noun}{'' if told == '1' else 's'}"


class StackName(Struct, frozen=True):
    """What a stack is called beside others that do different things."""

    before: str = ""
    """`encoder `, `decoder `."""
    noun: str = "layer"


def stack_names(stacks: Sequence[LayerStack]) -> list[StackName]:
    """Encoder and decoder, or layers of cross-attention beside those of self-attention."""
    halves = [next(iter(_HALF.findall(stack.path)), "") for stack in stacks]
    if sorted(halves) == ["decoder", "encoder"]:
        return [StackName(f"{half} ") for half in halves]
    crossing = [all(kind.attention and kind.attention.cross for kind in stack.kinds) for stack in stacks]
    apart = any(crossing) and not all(crossing)
    return [StackName(noun="cross-attention layer" if apart and crosses else "layer") for crosses in crossing]


def _stack(stack: LayerStack, name: StackName) -> Cell:
    return text(counted(stack.count, name.noun)) if name.noun != "layer" else stack_cell(stack)


def embeddings(component: Component) -> Cell:
    """`Conv2d(3, 1024) + Embedding(577)`."""
    if not component.embeddings:
        return missing("embeddings", component.unknown)
    return embeddings_cell(component.embeddings)


def attention(component: Component) -> Cell:
    """The attention of the component's layers."""
    return _of_layers(component, attention_class)


def mlp(component: Component) -> Cell:
    """The feed-forward part of the component's layers."""
    return _of_layers(component, mlp_cell)


def norms(component: Component) -> Cell:
    """The norms of the component's layers; of layers that differ much, each norm once."""
    cells = list(dict.fromkeys(norm_cell(norm) for layer in component.layers for norm in layer.norms))
    if len(cells) > MOST_WORDINGS:
        return join(shortened(cells), " / ")
    return _of_layers(component, norms_cell)


def projector(component: Component) -> Cell:
    """What a projector does, step by step; its class where no step was told apart."""
    return stages_cell(component.stages) if component.stages else _whole(component)


def head(component: Component) -> Cell:
    """`Linear(4096 -> 32064)`, and whether its weight is the embedding's."""
    told = stages_cell(component.stages) if component.stages else _whole(component)
    return concat(told, text(", tied")) if component.head else told


def _whole(component: Component) -> Cell:
    if component.class_name is None:
        return missing("stages", component.unknown, otherwise=component_class(component))
    return component_class(component)


def _of_layers(component: Component, word: Callable[[Layer], Cell]) -> Cell:
    if not component.layers:
        return missing("stacks", component.unknown)
    return distinct(component.layers, word)
