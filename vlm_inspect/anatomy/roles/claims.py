"""A role given to a module, with the reason."""

from __future__ import annotations

from msgspec import Struct

from vlm_inspect.architecture import Evidence, Role, Rule


class Claim(Struct, frozen=True):
    """A role given to a module, or to several that work as one, with the reason."""

    role: Role
    paths: tuple[str, ...]
    rule: Rule
    detail: str

    def evidence(self) -> Evidence:
        """The claim as the record keeps it."""
        return Evidence(f"{self.role.value} at {', '.join(self.paths)}", self.rule, self.detail)
