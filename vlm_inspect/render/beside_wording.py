"""What a component holds beside embeddings, layers and steps, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vlm_inspect.architecture import Component, Stage
from vlm_inspect.render.cells import Cell, code, concat, join, text
from vlm_inspect.render.figures import short_count
from vlm_inspect.render.stage_wording import stages_cell

_MOST = 12
_FEW = 2
# a final norm is always there and always small: what is told is what counts
_LARGE = 1_000_000
_SHARE = 100


def beside_cell(component: Component) -> Cell:
    """`` `norm` LlamaRMSNorm ``: by name, with the parameters of what holds more than a hundredth of all."""
    named: dict[tuple[str, Cell], int] = {}
    for name, stage in zip(_names(component.extra_modules), component.extra_modules, strict=True):
        told = concat(text(" "), stages_cell([stage]), text(_size(stage, component.parameters)))
        named[name, told] = named.get((name, told), 0) + 1
    cells = [
        concat(text(f"{count} x " if count > 1 else ""), code(name), told)
        for (name, told), count in named.items()
    ]
    return join([*cells[:_MOST], *([text("…")] if len(cells) > _MOST else [])], ", ")


def _names(stages: Sequence[Stage]) -> Iterator[str]:
    """The last part of each path; with the one before where a few different things have one name."""
    for stage in stages:
        *before, last = stage.path.split(".")
        namesakes = [other.class_name for other in stages if other.path.rpartition(".")[2] == last]
        in_a_row = len(namesakes) > _FEW and len(set(namesakes)) == 1
        is_told = len(namesakes) == 1 or in_a_row or not before or before[-1].isdigit()
        yield last if is_told else f"{before[-1]}.{last}"


def _size(stage: Stage, total: int | None) -> str:
    own = stage.parameters or 0
    is_large = total is not None and own >= _LARGE and own * _SHARE >= total
    return f" ({short_count(own)} parameters)" if is_large else ""
