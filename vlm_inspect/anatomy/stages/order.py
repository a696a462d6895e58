"""Whether the steps of a projector are in the order of use.

Code that was read shows the order; so do the numbers of a Sequential, and widths of which each fits only one
other. A checkpoint's headers list modules by name, and a resampler's norms fit anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, permutations, takewhile

from vlm_inspect.anatomy.module_kinds import is_list
from vlm_inspect.core.architecture import StageOrder
from vlm_inspect.core.module_tree import ModuleTree
from vlm_inspect.core.stages import ActivationStage, ConvStage, LinearStage, MlpStage, NormStage, Stage

_MAPS = (LinearStage, ConvStage, MlpStage, NormStage)
_MOST_MAPS = 5  # all orders of more would take too long


def stages_in_order(tree: ModuleTree, stages: tuple[Stage, ...]) -> tuple[tuple[Stage, ...], StageOrder | None]:
    """The stages, in the order of use if anything shows it, and how they are ordered."""
    modules = [stage for stage in stages if stage.path]
    if len(modules) < 2:  # noqa: PLR2004 - one has no order
        return stages, ("use" if len(stages) > 1 else None)
    if all(_is_order_known(tree, one.path, other.path) for one, other in pairwise(modules)):
        return stages, "use"
    chain = _by_widths(stages)
    if chain is not None:
        return chain, "use"
    holder = _holder([stage.path for stage in modules])
    return stages, "declaration" if _is_declared(tree, holder) else None


def _is_order_known(tree: ModuleTree, one: str, other: str) -> bool:
    """Whether the module that holds both runs its children by number, or its `forward` was read."""
    path = _holder([one, other])
    node = tree.find(path)
    names = {each.removeprefix(path).lstrip(".").partition(".")[0] for each in (one, other)}
    return node is not None and (is_list(node) or names <= {*node.forward_order, ""})


def _holder(paths: Sequence[str]) -> str:
    """The path of the innermost module that holds all of these."""
    parts = zip(*(path.split(".") for path in paths), strict=False)
    return ".".join(names[0] for names in takewhile(lambda names: len(set(names)) == 1, parts))


def _is_declared(tree: ModuleTree, path: str) -> bool:
    """Whether a module's children are in the order of its class: else headers list them by name."""
    node = tree.find(path)
    return not tree.unknowns.classes or (node is not None and not node.inferred)


def _by_widths(stages: Sequence[Stage]) -> tuple[Stage, ...] | None:
    """The one order in which each input has the width of the output before it, or joins several outputs.

    None if there are several such orders: a norm that keeps the width fits before and after a Linear.
    """
    maps = [stage for stage in stages if isinstance(stage, _MAPS)]
    others = [stage for stage in stages if not isinstance(stage, (*_MAPS, ActivationStage))]
    if others or len(maps) > _MOST_MAPS or any(stage.branch is not None for stage in stages):
        return None
    chains = {tuple(map(_key, order)): order for order in permutations(maps)}
    scores = {key: score for key, order in chains.items() if (score := _exact_fits(order)) is not None}
    best = [key for key, score in scores.items() if score == max(scores.values())]
    return _with_activations(chains[best[0]], stages) if len(best) == 1 else None


def _exact_fits(order: Sequence[Stage]) -> int | None:
    """How many inputs have just the width of the output before them; None if one fits in no way."""
    pairs = [(one.output_width, other.input_width) for one, other in pairwise(order)]
    if not all(output and width and width % output == 0 for output, width in pairs):
        return None
    return sum(output == width for output, width in pairs)


def _key(stage: Stage) -> tuple[str, int | None, int | None]:
    return stage.kind, stage.input_width, stage.output_width


def _with_activations(order: Sequence[Stage], stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """The maps in an order, and each activation where it was."""
    maps = iter(order)
    return tuple(next(maps) if isinstance(stage, _MAPS) else stage for stage in stages)
