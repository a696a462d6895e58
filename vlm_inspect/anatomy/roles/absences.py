"""Why a model lacks one of the main roles, and what takes its place."""

from __future__ import annotations

from collections.abc import Iterator

from vlm_inspect.anatomy.module_kinds import is_attention
from vlm_inspect.anatomy.roles import name_patterns
from vlm_inspect.anatomy.roles.anchors import text_backbone
from vlm_inspect.anatomy.roles.assignments import Assignments, all_paths, modules_at
from vlm_inspect.anatomy.roles.inputs_outputs import output_width, pixel_convolution, quantizer_name
from vlm_inspect.anatomy.roles.task_heads import CROSS_ATTENTION, is_read
from vlm_inspect.core.architecture import ENCODERS, TEXT_ROLES, Role
from vlm_inspect.core.module_tree import ModuleTree, last_name


def absent_roles(tree: ModuleTree, assignments: Assignments) -> Iterator[tuple[str, str]]:
    """The main roles that no module has, each with the first reason that holds.

    Each parameter has an owner, so a role without a module is absent, not unknown. `unknowns.py` corrects that
    for checkpoints with modules whose purpose does not show.
    """
    reasons = {
        Role.VISION_ENCODER: _why_no_vision_encoder(tree, assignments),
        Role.PROJECTOR: _why_no_projector(tree, assignments),
        Role.LANGUAGE_MODEL: _why_no_language_model(tree),
        Role.LM_HEAD: _why_no_head(tree, assignments),
    }
    found = {assignment.role for assignment in assignments}
    for role, why in reasons.items():
        if role not in found:
            yield role.value, next(why, "no module of the built model has this role")


def _why_no_vision_encoder(tree: ModuleTree, assignments: Assignments) -> Iterator[str]:
    if "vision_config" in tree.config and tree.config["vision_config"] is None:
        yield "the configuration has vision_config: null, and no module of the built model takes pixels"
    for path in all_paths(assignments, Role.AUDIO_ENCODER):
        yield f"the model takes audio ({path}), and none of its modules takes pixels"
    for path, node in modules_at(tree, all_paths(assignments, Role.PROJECTOR)):
        is_named = name_patterns.VISION.search(last_name(path)) or name_patterns.VISION_CLASS.search(node.class_name)
        if is_named or pixel_convolution(node, path):
            yield f"no encoder layers: {path} maps the pixels to the language model's width"
    yield from _why_text_only(assignments)
    if pixel_convolution(tree.root, "") is None:
        yield "no module of the built model takes pixels, by convolution or by name"


def _why_no_projector(tree: ModuleTree, assignments: Assignments) -> Iterator[str]:
    yield from _why_text_only(assignments)
    yield from _why_unread(tree, assignments)
    has_text = bool(all_paths(assignments, Role.LANGUAGE_MODEL))
    for path, node in modules_at(tree, all_paths(assignments, *ENCODERS)):
        if has_text and quantizer_name(node) is not None:
            yield f"{path} produces tokens, which the language model embeds like text tokens"
    for path, node in modules_at(tree, all_paths(assignments, Role.LANGUAGE_MODEL)):
        for at, child in node.walk(path):
            names_below = f"{at.removeprefix(path)} {child.class_name}"
            if is_attention(child) and CROSS_ATTENTION.search(names_below):
                yield f"{at} reads the encoder's output directly"
    backbone = text_backbone(tree)
    for role in (Role.VISION_ENCODER, Role.AUDIO_ENCODER):
        for path, node in modules_at(tree, all_paths(assignments, role)):
            if backbone is not None and output_width(node) == backbone.width:
                yield f"the output of {path} already has the text width, {backbone.width}"


def _why_unread(tree: ModuleTree, assignments: Assignments) -> Iterator[str]:
    if not all_paths(assignments, Role.LANGUAGE_MODEL):
        yield "no language model was built"
    if tree.unknowns.classes:
        yield "no Linear maps the text width to the vocabulary"
    if not is_read(tree, assignments):
        yield from (f"no language model reads the features of {at}" for at in all_paths(assignments, *ENCODERS))


def _why_text_only(assignments: Assignments) -> Iterator[str]:
    found = {assignment.role for assignment in assignments}
    if Role.LANGUAGE_MODEL in found and found <= TEXT_ROLES | {Role.TASK_HEAD}:
        yield "only a language model was built"


def _why_no_language_model(tree: ModuleTree) -> Iterator[str]:
    if text_backbone(tree) is None:
        yield "no module of the built model embeds the tokens of a text"


def _why_no_head(tree: ModuleTree, assignments: Assignments) -> Iterator[str]:
    if not all_paths(assignments, Role.LANGUAGE_MODEL):
        yield "no language model was built"
    if not tree.accessors.get("get_output_embeddings"):
        yield "no Linear maps the text width to the vocabulary, and get_output_embeddings() returned None"
