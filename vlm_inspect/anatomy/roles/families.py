"""What no rule can tell of a family of models. The only place where one is named.

An entry says which module of a class has which role, and why no general rule finds it. Keep this list
short: a rule that serves every model of a kind is worth more than an entry.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from vlm_inspect.architecture import Role


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
