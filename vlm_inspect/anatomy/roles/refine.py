"""Refinements of the role assignments: splits, merges and corrections that need more than one module.

`find.py` has the list with the order in which they run. Each takes the tree and the assignments so far and
gives the new ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import takewhile

from msgspec.structs import replace

from vlm_inspect.anatomy.layers.stacks import contains_stack, distinct_modules, find_stacks
from vlm_inspect.anatomy.module_kinds import contains_attention, is_list, linear_widths
from vlm_inspect.anatomy.roles import name_patterns
from vlm_inspect.anatomy.roles.assignments import Assignments, RoleAssignment, all_paths, modules_at, owner_of
from vlm_inspect.anatomy.roles.codecs import assigned_codec
from vlm_inspect.anatomy.roles.inputs_outputs import leads_to, stream_width
from vlm_inspect.core.architecture import ENCODERS, Role
from vlm_inspect.core.module_tree import ModuleNode, ModuleTree, is_below, join, last_name, parent_path

# the part of a name in which two Linears of one MLP differ: `img_projection_up`, `img_projection_down`
_STEP = re.compile(r"(^|_)(up|down|in|out|fc|linear)?_?\d?(?=_|$)")
_IMAGE_PARAMETER = re.compile(r"(quer(y|ies)|latent|newline|separator|view_)")
_PARAMETER_LISTS = frozenset({"ParameterList", "ParameterDict"})
_SOURCES = frozenset({Role.VISION_ENCODER, Role.AUDIO_ENCODER, Role.GENERATOR, Role.OTHER})


def split_encoders(tree: ModuleTree, assignments: Assignments) -> Iterator[RoleAssignment]:
    """Split towers that hold two encoders (SAM and CLIP, speech and speakers).

    Two encoders have layers of different classes and different widths. Stacks of one width are one encoder
    (Mllama's local and global layers).
    """
    for assignment in assignments:
        is_tower = assignment.role in ENCODERS and len(assignment.paths) == 1
        can_split = is_tower and assigned_codec(tree, assignment) is None
        node = tree.find(assignment.paths[0]) if can_split else None
        assigned = all_paths(assignments)
        encoders = _encoders_inside(node, assignment.paths[0], assigned) if node is not None else []
        if node is not None and encoders:
            yield from _one_per_encoder(assignment, node, encoders, assigned)
        else:
            yield assignment


def merge_sibling_linears(tree: ModuleTree, assignments: Assignments) -> list[RoleAssignment]:
    """Merge the Linears of a projector that has no module of its own.

    They are siblings whose names differ only in the step: `img_projection_up`, `img_projection_down`.
    """
    merged: dict[tuple[str, str], RoleAssignment] = {}
    for assignment in assignments:
        path = assignment.paths[0]
        node = tree.find(path)
        is_linear = assignment.role is Role.PROJECTOR and node is not None and linear_widths(node) is not None
        stem = _STEP.sub("", last_name(path))
        key = (parent_path(path), stem) if is_linear else (path, "")
        merged[key] = _with_paths(merged[key], *assignment.paths) if key in merged else assignment
    return list(merged.values())


def merge_parameter_lists(tree: ModuleTree, assignments: Assignments) -> list[RoleAssignment]:
    """Give lists of bare parameters (GIT's temporal embeddings) to the projector next to them."""
    lists = [
        each
        for each in assignments
        if each.role is Role.PROJECTOR
        and any(node.class_name in _PARAMETER_LISTS for _, node in modules_at(tree, each.paths[:1]))
    ]
    merged = [each for each in assignments if each not in lists]
    for each in lists:
        path = each.paths[0]
        index = _sibling_projector(merged, parent_path(path), last_name(path))
        if index is None:
            merged.append(each)
        else:
            merged[index] = _with_paths(merged[index], path)
    return merged


def drop_projectors_without_source(tree: ModuleTree, assignments: Assignments) -> list[RoleAssignment]:
    """Drop projectors of models that have nothing to project (a text model's own projections, BLT's).

    One named for another modality stays: its encoder may be missing from the build, or not needed.
    """
    has_source = tree.missing_modules or any(each.role in _SOURCES for each in assignments)
    return [
        each
        for each in assignments
        if has_source
        or each.role is not Role.PROJECTOR
        or each.rule == "structure"
        or any(pattern.search(path) for pattern in name_patterns.NON_TEXT for path in each.paths)
    ]


def add_bare_parameters(tree: ModuleTree, assignments: Assignments) -> list[RoleAssignment]:
    """Give bare parameters next to a projector to it: query tokens, separators, gates.

    Of several projectors, the one with the longest common prefix gets the parameter; of equals, the last.
    In the language model's own module, bare parameters belong to the text unless their name is for images.
    """
    extended = list(assignments)
    owners = {path: index for index, assignment in enumerate(extended) for path in assignment.paths}
    projectors = (assignment for assignment in extended if assignment.role is Role.PROJECTOR)
    parents = sorted({parent_path(projector.paths[0]) for projector in projectors})
    for path, node in modules_at(tree, parents):
        owner = owner_of(path, owners)
        is_spine = owner is None or extended[owner].role is Role.LANGUAGE_MODEL
        for name, _ in node.parameters if is_spine else ():
            index = _sibling_projector(extended, path, name)
            if index is not None and (path not in owners or _IMAGE_PARAMETER.search(name)):
                extended[index] = _with_paths(extended[index], join(path, name))
    return extended


def extend_head(tree: ModuleTree, assignments: Assignments) -> list[RoleAssignment]:
    """Add the transform next to the LM head's Linear to the head (ModernBERT's and Electra's)."""
    tasks = all_paths(assignments, Role.TASK_HEAD)  # such a transform can be named `head`
    assigned = [path for path in all_paths(assignments) if path not in tasks]
    extended = [
        replace(each, paths=(*_head_transforms(tree, each.paths[0], assigned), *each.paths))
        if each.role is Role.LM_HEAD
        else each
        for each in assignments
    ]
    heads = all_paths(extended, Role.LM_HEAD)
    return [each for each in extended if each.role is not Role.TASK_HEAD or not set(each.paths) <= set(heads)]


def _encoders_inside(node: ModuleNode, path: str, assigned: Sequence[str]) -> list[str]:
    """The names of the children that are encoders, if there are at least two."""
    found = {
        name: (child.class_name, stream_width(child))
        for name, child in node.children
        if not is_list(child) and any(find_stacks(child, join(path, name), assigned))
        if contains_attention(child)  # else a stem before the layers or a neck behind them
    }
    classes = {class_name for class_name, _ in found.values()}
    widths = {width for _, width in found.values()}
    return list(found) if len(classes) > 1 and len(widths) > 1 else []


def _one_per_encoder(
    assignment: RoleAssignment, node: ModuleNode, encoders: list[str], assigned: Sequence[str]
) -> Iterator[RoleAssignment]:
    """Split a tower. Its other children go to the encoder with the same first word, else to the last."""
    tower = assignment.paths[0]
    paths = {name: [join(tower, name)] for name in encoders}
    rest = [name for name, _ in node.parameters] + [name for name, child in node.children if child.total]
    for name in rest:
        if name not in paths and join(tower, name) not in assigned:
            named = (encoder for encoder in encoders if encoder.split("_")[0] == name.split("_")[0])
            paths[next(named, encoders[-1])].append(join(tower, name))
    for own in paths.values():
        detail = f"one of {len(encoders)} encoders of different widths in {tower}; {assignment.detail}"
        yield replace(assignment, paths=tuple(own), detail=detail)


def _with_paths(assignment: RoleAssignment, *paths: str) -> RoleAssignment:
    return replace(assignment, paths=(*assignment.paths, *paths))


def _sibling_projector(assignments: Assignments, parent: str, name: str) -> int | None:
    """The index of the projector in a module whose name has the longest common prefix with `name`."""
    siblings = [
        (_common_prefix_length(last_name(each.paths[0]), name), index)
        for index, each in enumerate(assignments)
        if each.role is Role.PROJECTOR and parent_path(each.paths[0]) == parent
    ]
    return max(siblings)[1] if siblings else None


def _common_prefix_length(one: str, other: str) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _head_transforms(tree: ModuleTree, head: str, assigned: Sequence[str]) -> Iterator[str]:
    """The head's siblings without a role whose output has the head's input width."""
    node, holder = tree.find(head), tree.find(parent_path(head))
    widths = linear_widths(node) if node is not None else None
    if holder is None or widths is None:
        return
    for name, child in holder.children:
        path = join(parent_path(head), name)
        is_free = child.total and not any(is_below(at, path) or is_below(path, at) for at in assigned)
        has_linear = any(linear_widths(below) for _, below in distinct_modules(child, ""))
        if is_free and has_linear and not contains_stack(child) and leads_to(child, widths[0]):
            yield path
