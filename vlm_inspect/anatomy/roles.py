"""Which module has which role.

The tree is walked from the root along the *text spine*, the modules that contain the text embedding.
Every other module that hangs on the spine is asked about once, by an ordered list of finders: a
family's entry, the model's own accessors, well-known names, structure. The first that answers wins and
leaves its evidence. The language model is what holds the text embedding and its layers; what nobody
claims stays unclaimed, for the caller to put into `other` by name.
"""

from __future__ import annotations

import re

from vlm_inspect.anatomy.anchors import find_head, text_embedding
from vlm_inspect.anatomy.claims import Claim
from vlm_inspect.anatomy.finders import Asked, ask, holds_parts
from vlm_inspect.anatomy.inner import inner_projectors
from vlm_inspect.anatomy.stacks import find_stacks
from vlm_inspect.architecture import Role
from vlm_inspect.tree import ModuleNode, ModuleTree, is_below, join

_PROJECTOR_PARAMETER = re.compile(r"(quer(y|ies)|latent|newline|separator|view_)")


def find_roles(tree: ModuleTree) -> tuple[Claim, ...]:
    """The claims on a model's modules, in the order of the tree.

    Claimed paths never cross: one may lie inside another, and then owns what is below it.
    """
    embedding = text_embedding(tree)
    head = find_head(tree, embedding)
    claims = [head] if head else []
    claims += _claims_along_spine(tree, embedding, {path for claim in claims for path in claim.paths})
    language = _language_model(tree, embedding, claims)
    if language is not None:
        claims = [claim for claim in claims if claim.role is not Role.LANGUAGE_MODEL]
        claims.append(language)
    claims += [inner for claim in claims for inner in inner_projectors(tree, claim)]
    claims = _with_parameters(tree, claims)
    order = {path: index for index, (path, _) in enumerate(tree.root.walk())}
    return tuple(sorted(claims, key=lambda claim: min(order.get(path, len(order)) for path in claim.paths)))


def _claims_along_spine(tree: ModuleTree, embedding: str | None, taken: set[str]) -> list[Claim]:
    claims: list[Claim] = []
    pending: list[tuple[str, ModuleNode]] = [("", tree.root)]
    while pending:
        parent, node = pending.pop()
        for name, child in node.children:
            path = join(parent, name)
            if path in taken or not child.total:
                continue
            if embedding is not None and is_below(embedding, path):
                pending.append((path, child))
                continue
            answer = ask(Asked(tree, path, child))
            if answer is None:
                if holds_parts(tree, path, child):
                    pending.append((path, child))
            else:
                claims.append(Claim(answer[0], (path,), answer[1], answer[2]))
    return claims


def _language_model(tree: ModuleTree, embedding: str | None, claims: list[Claim]) -> Claim | None:
    """The lowest module that holds the text embedding and layers.

    From there up, as long as it gains no other part and is not the whole model.
    """
    others = {path for claim in claims if claim.role is not Role.LANGUAGE_MODEL for path in claim.paths}
    beside = [claim for claim in claims if claim.role is Role.LANGUAGE_MODEL]
    foreign = {
        path
        for claim in claims
        if claim.role not in {Role.LANGUAGE_MODEL, Role.LM_HEAD}
        for path in claim.paths
    }
    if embedding is None:
        return beside[0] if len(beside) == 1 else None
    path = embedding
    taken = others | {at for claim in beside for at in claim.paths}
    while path and not list(find_stacks(_at(tree, path), path, taken)):
        path = path.rpartition(".")[0]
    while path and "." in path and not any(is_below(at, path.rpartition(".")[0]) for at in foreign):
        path = path.rpartition(".")[0]
    detail = f"the lowest module with the text embedding {embedding} and layers"
    if not path:
        return _spread_language_model(tree, embedding, claims)
    apart = [at for at in _paths(beside) if not is_below(at, path)]
    return Claim(Role.LANGUAGE_MODEL, (path, *apart), "structure", detail)


def _spread_language_model(tree: ModuleTree, embedding: str, claims: list[Claim]) -> Claim:
    """A language model without a module of its own: the root's children that are no other part."""
    taken = {path for claim in claims if claim.role is not Role.LANGUAGE_MODEL for path in claim.paths}
    paths = tuple(
        name
        for name, child in tree.root.children
        if child.total and name not in taken and not any(is_below(at, name) for at in taken)
    )
    detail = (
        f"the root itself holds the text embedding {embedding}: these are its children beside the other parts"
    )
    return Claim(Role.LANGUAGE_MODEL, paths or (embedding,), "structure", detail)


def _with_parameters(tree: ModuleTree, claims: list[Claim]) -> list[Claim]:
    """Query tokens and separators that hang bare on the spine belong to the projector beside them."""
    claimed = {path for claim in claims for path in claim.paths}
    for owner, node in tree.root.walk():
        if not node.parameters or any(is_below(owner, path) for path in claimed):
            continue
        for name, _ in node.parameters:
            index = _projector_beside(claims, owner) if _PROJECTOR_PARAMETER.search(name) else None
            if index is not None:
                claim = claims[index]
                claims[index] = Claim(claim.role, (*claim.paths, join(owner, name)), claim.rule, claim.detail)
    return claims


def _projector_beside(claims: list[Claim], owner: str) -> int | None:
    for index, claim in enumerate(claims):
        if claim.role is Role.PROJECTOR and claim.paths[0].rpartition(".")[0] == owner:
            return index
    return None


def _paths(claims: list[Claim]) -> list[str]:
    return [path for claim in claims for path in claim.paths]


def _at(tree: ModuleTree, path: str) -> ModuleNode:
    node = tree.find(path)
    if node is None:
        raise KeyError(path)
    return node
