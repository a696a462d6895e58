"""Find projectors that are inside an encoder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from vlm_inspect.anatomy.layers.stacks import contains_stack, distinct_modules, is_stack
from vlm_inspect.anatomy.module_kinds import contains_attention, linear_widths
from vlm_inspect.anatomy.roles import name_patterns
from vlm_inspect.anatomy.roles.anchors import text_backbone
from vlm_inspect.anatomy.roles.assignments import Assignments, RoleAssignment, all_paths, modules_at
from vlm_inspect.anatomy.roles.inputs_outputs import last_linear_width, norm_or_table_width, output_width, stream_width
from vlm_inspect.anatomy.roles.task_heads import is_read
from vlm_inspect.core.architecture import ENCODERS, Role
from vlm_inspect.core.module_tree import ModuleNode, ModuleTree, join, last_name

_INNER_PROJECTOR = re.compile(r"(^|_)(merger|merger_list|adapter|projector|connector|aligner|resampler)$")
_PROJ = re.compile(r"^proj\d?$")


def add_inner_projectors(tree: ModuleTree, assignments: Assignments) -> Iterator[RoleAssignment]:
    """Add the projectors inside encoders: by name, else the modules behind the layers at another width.

    A merger with attention that keeps the encoder's width only merges tokens between its layers
    (MiniCPM's `vit_merger`) and stays part of the encoder.
    """
    yield from assignments
    if not is_read(tree, assignments):
        return
    backbone = text_backbone(tree)
    text_width = backbone.width if backbone else None
    for assignment in assignments:
        is_encoder = assignment.role in ENCODERS
        if not is_encoder and not (assignment.role is Role.OTHER and assignment.rule == "structure"):
            continue
        for path, node in modules_at(tree, assignment.paths):
            named = list(_named_projectors(node, path)) or list(_projecting_modules(node, path, text_width))
            yield from named
            if is_encoder and not named:
                yield from _final_projection(node, path, text_width, _projector_inputs(tree, assignments))


def _named_projectors(node: ModuleNode, encoder: str) -> Iterator[RoleAssignment]:
    width = stream_width(node)
    pending = [(join(encoder, name), child) for name, child in node.children]
    while pending:
        path, child = pending.pop(0)
        name = last_name(path)
        if not child.total:
            continue
        only_merges = contains_attention(child) and last_linear_width(child) == width
        if _INNER_PROJECTOR.search(name) and not only_merges:
            yield RoleAssignment(Role.PROJECTOR, (path,), "name", f"the name {name!r} inside {encoder}")
        elif not is_stack(child):
            pending += [(join(path, key), below) for key, below in child.children]


def _projecting_modules(node: ModuleNode, encoder: str, text_width: int | None) -> Iterator[RoleAssignment]:
    """Modules of the encoder that are named like a projection and go from its layers' width to the text's.

    A convolution next to them that merges patches (GLM-4V's `conv`) belongs to the encoder.
    """
    for name, child in node.children:
        is_named = name_patterns.PROJECTOR.search(name) and child.children and not contains_stack(child)
        if is_named and output_width(child) == text_width != stream_width(node):
            detail = f"{name!r} maps to the text width {text_width} inside {encoder}"
            yield RoleAssignment(Role.PROJECTOR, (join(encoder, name),), "structure", detail)


def _final_projection(
    node: ModuleNode, encoder: str, text_width: int | None, projector_inputs: Iterable[int]
) -> Iterator[RoleAssignment]:
    """The encoder's own Linear to another width than its layers', and the modules at that width.

    That width is the text width, or the output width of a Linear called `proj` (in the default
    configurations of Qwen's audio encoders the two differ). If a projector outside takes that width, the
    Linear is part of the encoder.
    """
    width = stream_width(node)
    linears = {name: widths for name, child in node.children if (widths := linear_widths(child))}
    known = {width, *projector_inputs}
    outputs = {name: output for name, (_, output) in linears.items() if output not in known}
    last = [name for name, output in outputs.items() if output == text_width]
    last = last or [name for name in outputs if _PROJ.search(name)]
    if width is None or not last:
        return
    end = outputs[last[-1]]
    before = [name for name in linears if _PROJ.search(name) and name not in last]
    same_width = [name for name, child in node.children if norm_or_table_width(child) == end]
    paths = tuple(join(encoder, name) for name in (*before, *last, *same_width))
    detail = f"behind the layers of {encoder}: from their width {width} to {end}"
    yield RoleAssignment(Role.PROJECTOR, paths, "structure", detail)


def _projector_inputs(tree: ModuleTree, assignments: Assignments) -> Iterator[int]:
    """The input widths of the projectors outside the encoders."""
    for _, node in modules_at(tree, all_paths(assignments, Role.PROJECTOR)):
        widths = (linear_widths(child) for _, child in distinct_modules(node, ""))
        first = next(filter(None, widths), None)
        if first is not None:
            yield first[0]
