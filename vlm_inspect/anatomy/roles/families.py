"""Exceptions: roles of model classes that no finder can derive. The only place that names a model class."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from vlm_inspect.core.architecture import Role


class Family(Struct, frozen=True):
    """The exceptional roles of one model class."""

    model_class: str
    roles: Mapping[str, Role]
    """Module path → role."""
    reason: str


FAMILIES: tuple[Family, ...] = ()
