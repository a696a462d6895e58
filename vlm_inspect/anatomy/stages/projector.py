"""The stages of a projector in order of use, and those that run in parallel branches."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

from msgspec.structs import replace

from vlm_inspect.anatomy.layers.mlp import read_mlp
from vlm_inspect.anatomy.layers.projections import gated_down
from vlm_inspect.anatomy.layers.stacks import find_stacks, is_stack
from vlm_inspect.anatomy.module_kinds import (
    is_activation,
    is_attention,
    is_list,
    leaves,
    linear_widths,
    used_activations,
)
from vlm_inspect.anatomy.stages.leaf import leaf_stage, learned_queries, parameter_stages
from vlm_inspect.core.module_tree import ModuleNode, join, last_name
from vlm_inspect.core.stages import ActivationStage, BlockStage, ConvStage, LinearStage, MlpStage, Stage

_MLP_CLASS = re.compile(r"(MLP|FeedForward|FFN)", re.IGNORECASE)
_GATED_MLP = ("gate_proj", "up_proj", "down_proj")
_MIN_MLP_LINEARS = 2
_NUMBER = re.compile(r"\.(\d+)(?:\.|$)")

Children = Sequence[tuple[str, ModuleNode]]


def projector_stages(node: ModuleNode, path: str) -> tuple[Stage, ...]:
    """The stages of a projector, in order of use if its code shows it, else in order of declaration."""
    stages = with_queries(tuple(_stages(node, path, is_root=True)), learned_queries(node))
    return with_branches(_with_activation_between(_with_parameters_and_functions(stages, node, path)))


def with_activation(stages: tuple[Stage, ...], holder: ModuleNode | None) -> tuple[Stage, ...]:
    """Sibling Linears, with the activation that runs between them.

    It is a module declared between them, or else the only function that the holder's code calls.
    """
    if holder is None or not all(isinstance(stage, LinearStage) for stage in stages):
        return stages
    names = [name for name, _ in holder.children]
    positions = [names.index(last_name(stage.path)) for stage in stages]
    between = (child for _, child in holder.children[min(positions) : max(positions)])
    found = {child.class_name for child in between if is_activation(child)} or set(used_activations(holder))
    if len(found) != 1:
        return stages
    return tuple(_with_activation_between([*stages, ActivationStage(found.pop())]))


def with_queries(stages: tuple[Stage, ...], queries: int | None) -> tuple[Stage, ...]:
    """The stages, with a number of query tokens on the first block, which reads them (a Q-Former)."""
    for index, stage in enumerate(stages):
        if queries and isinstance(stage, BlockStage) and stage.num_queries is None:
            return (*stages[:index], replace(stage, num_queries=queries), *stages[index + 1 :])
    return stages


def with_branches(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """The stages, with the number of their branch on those that run in parallel."""
    segments, tail = _split_at_lists(stages) or _split_tail(_segments(stages))
    ends = {_output_width(segment) for segment in segments}
    have_joint_end = bool(tail) or len(ends) == 1
    if len(segments) == 1 or not have_joint_end or not all(map(_projects, segments)):
        return tuple(stages)
    numbered = [replace(stage, branch=index) for index, segment in enumerate(segments) for stage in segment]
    return (*numbered, *tail)


def _stages(node: ModuleNode, path: str, *, is_root: bool) -> Iterator[Stage]:
    queries = learned_queries(node)
    if node.is_leaf:
        stage = leaf_stage(node, path)
        if stage is not None:
            yield stage
        return
    if is_attention(node) and not is_root:
        yield BlockStage(node.class_name, path, num_queries=queries)
        return
    stacks = list(find_stacks(node, path))
    if stacks and not _has_linear_outside_stacks(node) and not (is_root and is_list(node)):
        layers = sum(len(stack.children) for _, stack in stacks)
        yield BlockStage(node.class_name, path, num_layers=layers, num_queries=queries)
        return
    if _is_mlp(node) and not is_root:
        yield _mlp_stage(node, path, node.class_name)
        return
    yield from with_queries(_child_stages(node, path), None if is_root else queries)


def _child_stages(node: ModuleNode, path: str) -> tuple[Stage, ...]:
    """In order of use, unless the widths fit better in order of declaration."""
    declared = tuple(_stages_in_order(node, path, node.children))
    used = tuple(_stages_in_order(node, path, _by_first_use(node)))
    return declared if len(_segments(declared)) < len(_segments(used)) else used


def _by_first_use(node: ModuleNode) -> Children:
    """The children in order of first use; an unused one stays after the one declared before it."""
    positions = {name: index for index, name in enumerate(dict.fromkeys(node.forward_order))}
    keys, last = {}, -1
    for name, _ in node.children:
        keys[name] = last = positions.get(name, last)
    return sorted(node.children, key=lambda child: keys[child[0]])


def _stages_in_order(node: ModuleNode, path: str, children: Children) -> Iterator[Stage]:
    """The stages of a module's children; the three projections of a gated MLP are one stage."""
    gated = _gated_mlp(node)
    down = gated[-1] if gated else None
    activation = _gate_activation(children, down) if down else None
    for name, child in children:
        if name == down:
            is_whole_module = not any(child.total for other, child in children if other not in gated)
            yield _mlp_stage(node, path, node.class_name if is_whole_module else None)
        elif name in gated or (down and name == activation):
            continue
        elif is_stack(child):
            # lists of parts instead of layers: the holder is the block
            layer = child.children[0][1]
            block = node if is_list(layer) else layer
            yield BlockStage(block.class_name, join(path, name), num_layers=len(child.children))
        else:
            yield from _stages(child, join(path, name), is_root=False)


def _gated_mlp(node: ModuleNode) -> tuple[str, ...]:
    """The names of the gate, up and down projection of a gated MLP, by name or by widths; else empty."""
    if all(node.child(name) for name in _GATED_MLP):
        return _GATED_MLP
    linears = [(name, widths) for name, child in node.children if (widths := linear_widths(child))]
    index = gated_down(linears)
    # a fused projection is a step of its own if the activation between the two is known
    is_split = len(linears) == len(("up", "down")) and (
        used_activations(node) or any(is_activation(child) for _, child in node.children)
    )
    if index is None or is_list(node) or is_split:
        return ()
    down = linears.pop(index)[0]
    names = (*(name for name, _ in linears), down)
    used = [name for name in dict.fromkeys(node.forward_order) if name in names]
    # a down projection that is used between the two others ends the first step of a sequence
    return () if len(used) == len(names) and used[-1] != down else names


def _gate_activation(children: Children, down: str) -> str | None:
    """The last activation before the down projection, or else the last one."""
    names = [name for name, _ in children]
    activations = [name for name, child in children if is_activation(child)]
    before = [name for name in activations if names.index(name) < names.index(down)]
    return next(reversed(before or activations), None)


def _with_parameters_and_functions(stages: Sequence[Stage], node: ModuleNode, path: str) -> list[Stage]:
    """The stages, with bare parameters and called functions inserted where the code uses them."""
    result = list(stages)
    own = [(stage.path.removeprefix(path).strip("."), stage) for stage in parameter_stages(node, path)]
    if not _gated_mlp(node):
        own += [(name, ActivationStage(name)) for name in dict.fromkeys(used_activations(node))]
    order = list(dict.fromkeys(node.forward_order))
    for name, stage in own:
        later = order[order.index(name) + 1 :] if name in order else []
        positions = (index for index, each in enumerate(result) if _child_name(each, path) in later)
        result.insert(next(positions, len(result)), stage)
    return result


def _child_name(stage: Stage, path: str) -> str:
    return stage.path.removeprefix(path).strip(".").partition(".")[0]


def _with_activation_between(stages: list[Stage]) -> list[Stage]:
    """The stages, with a single activation moved from either end to after the first Linear.

    Order of declaration is not order of use: before or after all Linears it would have no effect.
    """
    linears = [index for index, stage in enumerate(stages) if isinstance(stage, LinearStage)]
    activations = [index for index, stage in enumerate(stages) if isinstance(stage, ActivationStage)]
    if len(activations) != 1 or len(linears) < _MIN_MLP_LINEARS:
        return stages
    if not linears[0] < activations[0] < linears[-1]:
        activation = stages.pop(activations[0])
        first = next(index for index, stage in enumerate(stages) if isinstance(stage, LinearStage))
        stages.insert(first + 1, activation)
    return stages


def _has_linear_outside_stacks(node: ModuleNode) -> bool:
    return any(
        not list(find_stacks(child, name)) and any(linear_widths(leaf) for _, leaf in leaves(child, name))
        for name, child in node.children
    )


def _is_mlp(node: ModuleNode) -> bool:
    linears = sum(linear_widths(leaf) is not None for _, leaf in leaves(node, ""))
    is_named = linears >= _MIN_MLP_LINEARS and _MLP_CLASS.search(node.class_name) and not is_list(node)
    return bool(_gated_mlp(node)) or bool(is_named)


def _mlp_stage(node: ModuleNode, path: str, class_name: str | None) -> MlpStage:
    mlp = read_mlp(node)
    return MlpStage(
        class_name,
        path,
        in_features=mlp.input_width,
        hidden_features=mlp.hidden_width,
        out_features=mlp.output_width,
    )


def _segments(stages: Sequence[Stage]) -> list[list[Stage]]:
    """The stages, split before each one whose input width does not fit the output before it."""
    segments: list[list[Stage]] = [[]]
    previous: int | None = None
    activated = False
    for stage in stages:
        width = stage.input_width
        if width and previous and not _fits(previous, width, activated=activated):
            segments.append([])
        segments[-1].append(stage)
        if isinstance(stage, BlockStage):
            previous = None
        elif width:
            previous, activated = stage.output_width, False
        activated = activated or isinstance(stage, ActivationStage)
    return segments


def _fits(output: int, width: int, *, activated: bool) -> bool:
    """The same width, a multiple of it, or after an activation half of it: a gate without a module."""
    return width % output == 0 or (activated and output == 2 * width)


def _split_at_lists(stages: Sequence[Stage]) -> tuple[list[list[Stage]], list[Stage]] | None:
    """The branches and the tail, if lists of equal projections are among the stages: one for each level.

    The items of such a list map to another width, so they cannot follow each other. Neither do the stages after
    the list read it, unless they have the width of all branches.
    """
    pieces = [(is_list, list(run)) for is_list, run in _pieces(stages)]
    if len(pieces) == 1 or not any(is_list for is_list, _ in pieces):
        return None
    *before, last = (piece for _, piece in pieces)
    widths = {_output_width(piece) for piece in before}
    start = next((index for index, stage in enumerate(last) if {stage.input_width} == widths), len(last))
    branches = [*before, *([last[:start]] if start else [])]
    is_joint = {_output_width(branch) for branch in branches} == widths and len(widths) == 1
    return (branches, last[start:]) if is_joint else None


def _pieces(stages: Sequence[Stage]) -> Iterator[tuple[bool, Iterator[Stage]]]:
    """The stages of each list of equal projections (True), and those around the lists (False)."""
    by_list = groupby(stages, lambda stage: _NUMBER.split(stage.path)[0] if _NUMBER.search(stage.path) else "")
    runs = [(path, list(run)) for path, run in by_list]
    return (
        (is_list, (stage for _, run in group for stage in run))
        for is_list, group in groupby(runs, lambda pair: bool(pair[0]) and _is_list_of_projections(pair[1]))
    )


def _is_list_of_projections(stages: Sequence[Stage]) -> bool:
    by_item = groupby(stages, lambda stage: _NUMBER.findall(stage.path)[:1])
    items = [[replace(stage, path="") for stage in item] for _, item in by_item]
    maps = [stage for stage in items[0] if isinstance(stage, LinearStage | MlpStage | ConvStage)]
    is_equal = len(items) > 1 and all(item == items[0] for item in items)
    return is_equal and bool(maps) and maps[0].input_width != maps[-1].output_width


def _split_tail(segments: list[list[Stage]]) -> tuple[list[list[Stage]], list[Stage]]:
    """The branches, and the stages from the one whose input is as wide as all their outputs together."""
    *before, last = segments
    for index, stage in enumerate(last if before else ()):
        own = _output_width(last[:index])
        if own and stage.input_width == own + sum(_output_width(segment) or 0 for segment in before):
            start = index
            # an activation has the same effect on each branch as on all of them joined
            while isinstance(last[start - 1], ActivationStage):
                start -= 1
            return [*before, last[:start]], last[start:]
    return segments, []


def _output_width(segment: Sequence[Stage]) -> int | None:
    return next((stage.output_width for stage in reversed(segment) if stage.input_width), None)


def _projects(segment: Sequence[Stage]) -> bool:
    return any(isinstance(stage, LinearStage | MlpStage | ConvStage) for stage in segment)
