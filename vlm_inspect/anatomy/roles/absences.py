"""Why a part is not there: what the model has in its place, as far as its structure tells."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from vlm_inspect.anatomy.leaves import is_attention
from vlm_inspect.anatomy.roles import names
from vlm_inspect.anatomy.roles.anchors import text_home
from vlm_inspect.anatomy.roles.claims import Claim
from vlm_inspect.anatomy.roles.inner import written_width
from vlm_inspect.anatomy.roles.names import pixel_convolution
from vlm_inspect.anatomy.roles.refine import is_codec
from vlm_inspect.core.architecture import TEXT_ROLES, Role
from vlm_inspect.core.module_tree import ModuleNode, ModuleTree

_MAIN_ROLES = (Role.VISION_ENCODER, Role.PROJECTOR, Role.LANGUAGE_MODEL, Role.LM_HEAD)
_ACROSS = re.compile(r"(cross|enc(oder)?_?(dec(oder)?_?)?att(n|ention))", re.IGNORECASE)
_SEES, _HEARS = frozenset({Role.VISION_ENCODER}), frozenset({Role.AUDIO_ENCODER})

Claims = Sequence[Claim]
Reason = Callable[[ModuleTree, Claims], str | None]


def absences(tree: ModuleTree, claims: Claims) -> Iterator[tuple[str, str]]:
    """The main roles that no module has, each with its reason.

    The model was built and every parameter of it has an owner, so what no module is is not there.
    """
    found = {claim.role for claim in claims}
    for role in _MAIN_ROLES:
        if role not in found:
            reasons = (reason(tree, claims) for reason in _REASONS[role])
            yield (
                role.value,
                next((why for why in reasons if why), "no module of the built model has this role"),
            )


def _left_out(tree: ModuleTree, _: Claims) -> str | None:
    """The configuration has a place for it and says None there."""
    if "vision_config" in tree.config and tree.config["vision_config"] is None:
        return "the configuration says vision_config: null, and no module of the built model takes pixels"
    return None


def _hears(_: ModuleTree, claims: Claims) -> str | None:
    heard = next((claim.paths[0] for claim in claims if claim.role is Role.AUDIO_ENCODER), None)
    return f"the model takes sound ({heard}), and no module of it takes pixels" if heard else None


def _straight(tree: ModuleTree, claims: Claims) -> str | None:
    for path, node in _nodes(tree, claims, {Role.PROJECTOR}):
        named = names.VISION.search(names.last(path)) or names.VISION_CLASS.search(node.class_name)
        if named or pixel_convolution(node, path):
            return f"no layers see the pixels before the language model: {path} maps them to its width"
    return None


def _language_alone(_: ModuleTree, claims: Claims) -> str | None:
    alone = {claim.role for claim in claims} <= TEXT_ROLES
    return "nothing but a language model was built" if alone else None


def _as_tokens(tree: ModuleTree, claims: Claims) -> str | None:
    for path, node in _nodes(tree, claims, _SEES | _HEARS):
        if is_codec(node):
            return f"{path} makes tokens, which the language model embeds as it does words"
    return None


def _read_across(tree: ModuleTree, claims: Claims) -> str | None:
    for path, node in _nodes(tree, claims, {Role.LANGUAGE_MODEL}):
        for at, child in node.walk(path):
            if is_attention(child) and _ACROSS.search(f"{at.removeprefix(path)} {child.class_name}"):
                return f"{at} reads the encoder's output as it is"
    return None


def _at_its_width(tree: ModuleTree, claims: Claims) -> str | None:
    home = text_home(tree)
    for path, node in (*_nodes(tree, claims, _SEES), *_nodes(tree, claims, _HEARS)):
        if home is not None and written_width(node) == home.sizes[1]:
            return f"{path} writes the text's width, {home.sizes[1]}, itself"
    return None


def _nothing_sees(tree: ModuleTree, _: Claims) -> str | None:
    if pixel_convolution(tree.root, "") is None:
        return "no module of the built model takes pixels, by its convolutions or by its name"
    return None


def _no_vocabulary(tree: ModuleTree, _: Claims) -> str | None:
    if tree.accessors.get("get_output_embeddings"):
        return None
    return "no Linear maps the text's width to its vocabulary, and get_output_embeddings() answered nothing"


_REASONS: Mapping[Role, tuple[Reason, ...]] = {
    Role.VISION_ENCODER: (_left_out, _hears, _straight, _language_alone, _nothing_sees),
    Role.PROJECTOR: (_language_alone, _as_tokens, _read_across, _at_its_width),
    Role.LANGUAGE_MODEL: (),
    Role.LM_HEAD: (_no_vocabulary,),
}


def _nodes(
    tree: ModuleTree, claims: Claims, roles: frozenset[Role] | set[Role]
) -> Iterator[tuple[str, ModuleNode]]:
    for claim in claims:
        for path in claim.paths if claim.role in roles else ():
            node = tree.find(path)
            if node is not None:
                yield path, node
