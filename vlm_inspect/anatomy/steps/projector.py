"""What a projector does, step by step."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from vlm_inspect.anatomy.layers.mlp import read_mlp
from vlm_inspect.anatomy.layers.stacks import find_stacks, is_stack
from vlm_inspect.anatomy.leaves import (
    is_activation,
    is_attention,
    is_list,
    leaves,
    linear_widths,
    used_activations,
)
from vlm_inspect.anatomy.steps.leaf import leaf_stage, learned_queries, parameter_stages
from vlm_inspect.core.architecture import ActivationStage, BlockStage, ConvStage, LinearStage, MlpStage, Stage
from vlm_inspect.core.module_tree import ModuleNode, join

_FEWEST = 2


def with_branches(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """The steps; those that lie side by side with the number of their branch."""
    segments, tail = _joined(_segments(stages))
    ends = {_end(segment) for segment in segments}
    if len(segments) < _FEWEST or not all(map(_maps, segments)) or (not tail and len(ends) != 1):
        return tuple(stages)
    numbered = [replace(stage, branch=index) for index, segment in enumerate(segments) for stage in segment]
    return (*numbered, *tail)


def breaks(stages: Sequence[Stage]) -> int:
    """How many steps cannot read what the one before them wrote."""
    return len(_segments(stages)) - 1


def _segments(stages: Sequence[Stage]) -> list[list[Stage]]:
    """The steps, cut where a width does not fit the one before."""
    segments: list[list[Stage]] = [[]]
    written: int | None = None
    activated = False
    for stage in stages:
        given = stage.input_width
        if given and written and not _fits(written, given, activated=activated):
            segments.append([])
        segments[-1].append(stage)
        if isinstance(stage, BlockStage):
            written = None
        elif given:
            written, activated = stage.output_width, False
        activated = activated or isinstance(stage, ActivationStage)
    return segments


def _fits(written: int, given: int, *, activated: bool) -> bool:
    """As wide, several side by side, or half of it: a gate that no module stands for."""
    return given % written == 0 or (activated and written == 2 * given)


def _joined(segments: list[list[Stage]]) -> tuple[list[list[Stage]], list[Stage]]:
    """The branches, and the steps after them where one takes in as much as all branches write."""
    *before, last = segments
    for index, stage in enumerate(last):
        own = _end(last[:index])
        if own and stage.input_width == sum(_end(segment) or 0 for segment in before) + own and before:
            while isinstance(
                last[index - 1], ActivationStage
            ):  # the same before the branches are joined and after
                index -= 1  # noqa: PLW2901 - the loop ends here
            return [*before, last[:index]], last[index:]
    return segments, []


def _end(segment: Sequence[Stage]) -> int | None:
    return next((stage.output_width for stage in reversed(segment) if stage.input_width), None)


def _maps(segment: Sequence[Stage]) -> bool:
    return any(isinstance(stage, LinearStage | MlpStage | ConvStage) for stage in segment)


_MLP_CLASS = re.compile(r"(MLP|FeedForward|FFN)", re.IGNORECASE)
_GATED = ("gate_proj", "up_proj", "down_proj")
_MLP_LINEARS = 2

Children = Sequence[tuple[str, ModuleNode]]


def projector_stages(node: ModuleNode, path: str) -> tuple[Stage, ...]:
    """The steps of a projector, in the order of use where its code tells, else of declaration."""
    steps = with_queries(tuple(_steps(node, path, is_root=True)), learned_queries(node))
    return with_branches(_activation_between(_with_own(steps, node, path)))


def with_activation(stages: tuple[Stage, ...], holder: ModuleNode | None) -> tuple[Stage, ...]:
    """Linears that lie side by side, with the one activation that their holder has for them.

    That is a module between them, or else the one function that the holder's code calls.
    """
    if holder is None or not all(isinstance(stage, LinearStage) for stage in stages):
        return stages
    names = [name for name, _ in holder.children]
    places = [names.index(stage.path.rpartition(".")[2]) for stage in stages]
    between = (child for _, child in holder.children[min(places) : max(places)])
    called = {child.class_name for child in between if is_activation(child)} or set(used_activations(holder))
    if len(called) != 1:
        return stages
    return tuple(_activation_between([*stages, ActivationStage(called.pop())]))


def with_queries(stages: tuple[Stage, ...], queries: int | None) -> tuple[Stage, ...]:
    """Query tokens that lie beside the block which reads them (a Q-Former's) go to the first block."""
    for index, stage in enumerate(stages):
        if queries and isinstance(stage, BlockStage) and stage.num_queries is None:
            return (*stages[:index], replace(stage, num_queries=queries), *stages[index + 1 :])
    return stages


def _steps(node: ModuleNode, path: str, *, is_root: bool) -> Iterator[Stage]:
    if not node.children:
        stage = leaf_stage(node, path)
        if stage is not None:
            yield stage
        return
    if is_attention(node) and not is_root:
        yield BlockStage(node.class_name, path, num_queries=learned_queries(node))
        return
    stacked = list(find_stacks(node, path))
    if stacked and not _holds_projection_beside(node) and not (is_root and is_list(node)):
        count = sum(len(stack.children) for _, stack in stacked)
        yield BlockStage(node.class_name, path, num_layers=count, num_queries=learned_queries(node))
        return
    if _is_mlp(node) and not is_root:
        yield _mlp_stage(node, path)
        return
    yield from with_queries(_in_order(node, path), None if is_root else learned_queries(node))


def _in_order(node: ModuleNode, path: str) -> tuple[Stage, ...]:
    """The steps of a module's children as its code uses them, unless their widths fit better as declared."""
    declared = tuple(_sequence(node, path, node.children))
    used = tuple(_sequence(node, path, _by_use(node)))
    return declared if breaks(declared) < breaks(used) else used


def _by_use(node: ModuleNode) -> Children:
    """The children in the order of their first use; one that is not used stays behind its neighbour."""
    places: dict[str, int] = {}
    for index, name in enumerate(node.forward_order):
        places.setdefault(name, index)
    keys, last = {}, -1
    for name, _ in node.children:
        keys[name] = last = places.get(name, last)
    return sorted(node.children, key=lambda child: keys[child[0]])


def _sequence(node: ModuleNode, path: str, children: Children) -> Iterator[Stage]:
    """The steps of a module's children, a gated MLP's three projections as one."""
    names = [name for name, _ in children]
    gated = set(_GATED) <= set(names)
    own = _own_activation(children) if gated else None
    for name, child in children:
        if gated and (name in _GATED[:2] or name == own):
            continue
        if gated and name == _GATED[2]:
            alone = not any(child.total for other, child in children if other not in _GATED)
            yield replace(_mlp_stage(node, path), class_name=node.class_name if alone else None)
        elif is_stack(child):
            yield _stack_block(node, child, join(path, name))
        else:
            yield from _steps(child, join(path, name), is_root=False)


def _own_activation(children: Children) -> str | None:
    """The activation of a gate: the last that is used before the MLP ends, or the last declared."""
    activations = [name for name, child in children if is_activation(child)]
    names = [name for name, _ in children]
    before = [name for name in activations if names.index(name) < names.index(_GATED[2])]
    chosen = before or activations
    return chosen[-1] if chosen else None


def _with_own(steps: Sequence[Stage], node: ModuleNode, path: str) -> list[Stage]:
    """The steps with those that no module is, parameters and functions, where the code uses them."""
    told = list(steps)
    own = [(stage.path.removeprefix(path).strip("."), stage) for stage in parameter_stages(node, path)]
    if not {name for name, _ in node.children} >= set(_GATED):
        own += [(name, ActivationStage(name)) for name in dict.fromkeys(used_activations(node))]
    for name, stage in own:
        later = _after(node, name)
        firsts = (index for index, step in enumerate(told) if _child(step, path) in later)
        told.insert(next(firsts, len(told)), stage)
    return told


def _after(node: ModuleNode, name: str) -> set[str]:
    """What a module's code first uses after it used one of its parameters."""
    order = list(dict.fromkeys(node.forward_order))
    return set(order[order.index(name) + 1 :]) if name in order else set()


def _child(step: Stage, path: str) -> str:
    """The name of the child that a step lies in."""
    return step.path.removeprefix(path).strip(".").partition(".")[0]


def _stack_block(holder: ModuleNode, stack: ModuleNode, path: str) -> Stage:
    """Layers among other steps, under the layers' class; lists of parts have none and take their holder's."""
    layer = stack.children[0][1]
    name = holder.class_name if is_list(layer) else layer.class_name
    return BlockStage(name, path, num_layers=len(stack.children))


def _holds_projection_beside(node: ModuleNode) -> bool:
    """Whether Linears lie beside the stacks: then the node is a sequence of steps, not one block."""
    return any(
        not list(find_stacks(child, name)) and any(linear_widths(leaf) for _, leaf in leaves(child, name))
        for name, child in node.children
    )


def _is_mlp(node: ModuleNode) -> bool:
    if is_list(node):
        return False
    linears = sum(1 for _, leaf in leaves(node, "") if linear_widths(leaf) is not None)
    return set(_GATED) <= {name for name, _ in node.children} or (
        linears >= _MLP_LINEARS and bool(_MLP_CLASS.search(node.class_name))
    )


def _mlp_stage(node: ModuleNode, path: str) -> MlpStage:
    mlp = read_mlp(node, {})
    return MlpStage(
        node.class_name,
        path,
        in_features=mlp.input_width,
        hidden_features=mlp.hidden_width,
        out_features=mlp.output_width,
    )


def _activation_between(stages: list[Stage]) -> list[Stage]:
    """A lone activation that is declared before or after all Linears, put between them.

    Order of declaration is not order of use, and at either end it would do nothing that an MLP is for.
    """
    linears = [index for index, stage in enumerate(stages) if isinstance(stage, LinearStage)]
    lone = [index for index, stage in enumerate(stages) if isinstance(stage, ActivationStage)]
    if len(lone) != 1 or len(linears) < _MLP_LINEARS or linears[0] < lone[0] < linears[-1]:
        return stages
    activation = stages.pop(lone[0])
    first = next(index for index, stage in enumerate(stages) if isinstance(stage, LinearStage))
    stages.insert(first + 1, activation)
    return stages
