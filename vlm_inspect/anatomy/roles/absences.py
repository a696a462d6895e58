"""Why a model lacks one of the main roles, and what takes its place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from vlm_inspect.anatomy.leaves import is_attention
from vlm_inspect.anatomy.roles import names
from vlm_inspect.anatomy.roles.anchors import text_backbone
from vlm_inspect.anatomy.roles.assignments import Assignments, all_paths
from vlm_inspect.anatomy.roles.inputs_outputs import output_width, pixel_convolution, quantizer_name
from vlm_inspect.core.architecture import TEXT_ROLES, Role
from vlm_inspect.core.module_tree import ModuleNode, ModuleTree

_CROSS_ATTENTION = re.compile(r"(cross|enc(oder)?_?(dec(oder)?_?)?att(n|ention))", re.IGNORECASE)

ReasonFinder = Callable[[ModuleTree, Assignments], str | None]


def absent_roles(tree: ModuleTree, assignments: Assignments) -> Iterator[tuple[str, str]]:
    """The main roles that no module has, with the reasons.

    The model was built and each parameter has an owner, so a role without a module is absent, not unknown.
    """
    found = {assignment.role for assignment in assignments}
    for role, reason_finders in _REASON_FINDERS.items():
        if role not in found:
            reasons = (reason for find in reason_finders if (reason := find(tree, assignments)))
            yield role.value, next(reasons, "no module of the built model has this role")


def _vision_config_is_null(tree: ModuleTree, _: Assignments) -> str | None:
    if "vision_config" in tree.config and tree.config["vision_config"] is None:
        return "the configuration has vision_config: null, and no module of the built model takes pixels"
    return None


def _takes_audio(_: ModuleTree, assignments: Assignments) -> str | None:
    paths = all_paths(assignments, Role.AUDIO_ENCODER)
    return f"the model takes audio ({paths[0]}), and none of its modules takes pixels" if paths else None


def _pixels_are_projected(tree: ModuleTree, assignments: Assignments) -> str | None:
    for path, node in _modules(tree, assignments, Role.PROJECTOR):
        name, class_name = names.last_name(path), node.class_name
        is_named = names.VISION.search(name) or names.VISION_CLASS.search(class_name)
        if is_named or pixel_convolution(node, path):
            return f"no encoder layers: {path} maps the pixels to the language model's width"
    return None


def _is_language_model(_: ModuleTree, assignments: Assignments) -> str | None:
    is_text = {assignment.role for assignment in assignments} <= TEXT_ROLES
    return "only a language model was built" if is_text else None


def _produces_tokens(tree: ModuleTree, assignments: Assignments) -> str | None:
    for path, node in _modules(tree, assignments, Role.VISION_ENCODER, Role.AUDIO_ENCODER):
        if quantizer_name(node) is not None:
            return f"{path} produces tokens, which the language model embeds like text tokens"
    return None


def _is_read_by_cross_attention(tree: ModuleTree, assignments: Assignments) -> str | None:
    for path, node in _modules(tree, assignments, Role.LANGUAGE_MODEL):
        for at, child in node.walk(path):
            names_below = f"{at.removeprefix(path)} {child.class_name}"
            if is_attention(child) and _CROSS_ATTENTION.search(names_below):
                return f"{at} reads the encoder's output directly"
    return None


def _encoder_has_text_width(tree: ModuleTree, assignments: Assignments) -> str | None:
    backbone = text_backbone(tree)
    for role in (Role.VISION_ENCODER, Role.AUDIO_ENCODER):
        for path, node in _modules(tree, assignments, role):
            if backbone is not None and output_width(node) == backbone.width:
                return f"the output of {path} already has the text width, {backbone.width}"
    return None


def _no_pixel_convolution(tree: ModuleTree, _: Assignments) -> str | None:
    if pixel_convolution(tree.root, "") is None:
        return "no module of the built model takes pixels, by convolution or by name"
    return None


def _no_output_embeddings(tree: ModuleTree, _: Assignments) -> str | None:
    if tree.accessors.get("get_output_embeddings"):
        return None
    return "no Linear maps the text width to the vocabulary, and get_output_embeddings() returned None"


# the main roles, and for each the reasons in the order in which they are tried
_REASON_FINDERS: Mapping[Role, tuple[ReasonFinder, ...]] = {
    Role.VISION_ENCODER: (
        _vision_config_is_null,
        _takes_audio,
        _pixels_are_projected,
        _is_language_model,
        _no_pixel_convolution,
    ),
    Role.PROJECTOR: (
        _is_language_model,
        _produces_tokens,
        _is_read_by_cross_attention,
        _encoder_has_text_width,
    ),
    Role.LANGUAGE_MODEL: (),
    Role.LM_HEAD: (_no_output_embeddings,),
}


def _modules(tree: ModuleTree, assignments: Assignments, *roles: Role) -> Iterator[tuple[str, ModuleNode]]:
    """The modules with one of these roles; bare parameters are left out."""
    for path in all_paths(assignments, *roles):
        node = tree.find(path)
        if node is not None:
            yield path, node
