"""A role given to a module, with the reason."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from vlm_inspect.anatomy.roles.names import last
from vlm_inspect.core.architecture import Evidence, Role, Rule
from vlm_inspect.core.module_tree import ModuleNode, ModuleTree, join


class Claim(Struct, frozen=True):
    """A role given to a module, or to several that work as one, with the reason."""

    role: Role
    paths: tuple[str, ...]
    rule: Rule
    detail: str

    def evidence(self) -> Evidence:
        """The claim as the record keeps it."""
        return Evidence(f"{self.role.value} at {', '.join(self.paths)}", self.rule, self.detail)


Answer = tuple[Role, Rule, str]


class TextHome(Struct, frozen=True):
    """Where the text lives: the lowest module that holds its embedding and its layers."""

    path: str
    embedding: str
    """Where its tokens are embedded."""
    sizes: tuple[int, int]
    """(entries, width) of that embedding."""


class Asked(Struct, frozen=True):
    """One module under question, and what the finders may look at."""

    tree: ModuleTree
    path: str
    node: ModuleNode
    home: TextHome | None = None
    """None where the model has no text embedding."""

    @property
    def name(self) -> str:
        """The last part of the path."""
        return last(self.path)

    def below(self, name: str, child: ModuleNode) -> Asked:
        """The same question about a child."""
        return Asked(self.tree, join(self.path, name), child, self.home)


class Family(Struct, frozen=True):
    """The odd roles of one model class."""

    model_class: str
    roles: Mapping[str, Role]
    """Module path → role."""
    why: str


FAMILIES: tuple[Family, ...] = ()


def role_by_family(model_class: str, path: str) -> tuple[Role, str] | None:
    """The role that a family's entry gives to a path, and why."""
    for family in FAMILIES:
        if family.model_class == model_class and path in family.roles:
            return family.roles[path], family.why
    return None
