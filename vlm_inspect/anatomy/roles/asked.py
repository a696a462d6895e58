"""One module under question, and what may be looked at to answer."""

from __future__ import annotations

from msgspec import Struct

from vlm_inspect.anatomy.roles.field_names import last
from vlm_inspect.architecture import Role, Rule
from vlm_inspect.tree import ModuleNode, ModuleTree, join

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
