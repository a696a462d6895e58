"""The language model's module, found once its neighbours are known."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from vlm_inspect.anatomy.layers.stacks import find_stacks
from vlm_inspect.anatomy.leaves import embedding_sizes
from vlm_inspect.anatomy.roles import names
from vlm_inspect.anatomy.roles.claims import Claim
from vlm_inspect.core.architecture import Role
from vlm_inspect.core.module_tree import ModuleNode, ModuleTree, is_below, join


def language_model(tree: ModuleTree, embedding: str | None, claims: Sequence[Claim]) -> Claim | None:
    """The lowest module that holds the text embedding and layers, or one above that gains no other part."""
    beside = [claim for claim in claims if claim.role is Role.LANGUAGE_MODEL]
    if embedding is None:
        return beside[0] if len(beside) == 1 else None
    others = _paths([claim for claim in claims if claim.role is not Role.LANGUAGE_MODEL])
    path = _lowest(tree, embedding, others)
    if not path:
        return _spread(tree, embedding, claims)
    heads = _paths([claim for claim in claims if claim.role is Role.LM_HEAD])
    path = _highest(path, [at for at in others if at not in heads])
    apart = [at for at in (*_paths(beside), *_tables(tree, embedding)) if not is_below(at, path)]
    detail = f"the lowest module with the text embedding {embedding} and layers"
    return Claim(Role.LANGUAGE_MODEL, (path, *apart), "structure", detail)


def _tables(tree: ModuleTree, embedding: str) -> list[str]:
    """The root's own tables that are the text's embedding under another name (Seamless' `shared`)."""
    tied = [group for group in tree.ties if any(is_below(at, embedding) for at in group)]
    holders = {names.parent(at) for group in tied for at in group}
    return [name for name, child in tree.root.children if name in holders and embedding_sizes(child)]


def _lowest(tree: ModuleTree, embedding: str, taken: Sequence[str]) -> str:
    path = embedding
    while path:
        node = tree.find(path)
        if node is not None and next(find_stacks(node, path, taken), None) is not None:
            break
        path = names.parent(path)
    return path


def _highest(path: str, foreign: Sequence[str]) -> str:
    """The highest module above that holds no other part and is not the whole model.

    Where one on the way is called a language model, it is that one: what is above only holds the place of
    parts that this configuration leaves out.
    """
    above = [path]
    while (at := names.parent(above[-1])) and not any(is_below(other, at) for other in foreign):
        above.append(at)
    called = [at for at in above if names.LANGUAGE_MODULES.search(names.last(at))]
    return called[-1] if called else above[-1]


def _spread(tree: ModuleTree, embedding: str, claims: Sequence[Claim]) -> Claim:
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


def _paths(claims: Sequence[Claim]) -> list[str]:
    return [path for claim in claims for path in claim.paths]


def owned(tree: ModuleTree, groups: Sequence[tuple[str, ...]]) -> list[int]:
    """Parameters owned by each group of paths, tied ones counted at their first place alone.

    Of paths inside one another the inner one owns what is below it.
    """
    owner = {path: index for index, paths in enumerate(groups) for path in paths}
    counts = [0] * len(groups)
    for path, index in owner.items():
        counts[index] += _size(tree, path) - sum(
            _size(tree, inner) for inner in _directly_inside(path, owner)
        )
    for path, surplus in zip(_tied_again(tree), tree.tied_surplus(), strict=True):
        holder = nearest(path, owner)
        if holder is not None:
            counts[owner[holder]] -= surplus
    return counts


def unclaimed(tree: ModuleTree, claimed: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The largest modules and bare parameters that no path claims, with their class (`Parameter`)."""
    yield from _unclaimed(tree.root, "", set(claimed))


def _unclaimed(node: ModuleNode, path: str, claimed: set[str]) -> Iterator[tuple[str, str]]:
    for name, _ in node.parameters:
        if join(path, name) not in claimed:
            yield join(path, name), "Parameter"
    for name, child in node.children:
        at = join(path, name)
        if at in claimed or not child.total:
            continue
        if any(is_below(other, at) for other in claimed):
            yield from _unclaimed(child, at, claimed)
        else:
            yield at, child.class_name


def nearest(path: str, owner: dict[str, int]) -> str | None:
    """The innermost claimed path at or above a path."""
    at = path
    while at:
        if at in owner:
            return at
        at = at.rpartition(".")[0]
    return None


def _directly_inside(path: str, owner: dict[str, int]) -> Iterator[str]:
    for other in owner:
        if other != path and is_below(other, path) and nearest(other.rpartition(".")[0], owner) == path:
            yield other


def _tied_again(tree: ModuleTree) -> Iterator[str]:
    for group in tree.ties:
        yield from group[1:]


def _size(tree: ModuleTree, path: str) -> int:
    """Parameters at and below a path, which may be that of a parameter."""
    node = tree.find(path)
    if node is not None:
        return node.total
    return sum(math.prod(shape) for shape in tree.shapes_of({path}).values())
