"""The keys and types of a configuration. msgspec checks them; what they mean is for checks.py."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec

from vlm_inspect.settings.places import Place, in_toml_words
from vlm_inspect.settings.records import DEFAULT_KIND

_Text = Annotated[str, msgspec.Meta(pattern=r"\A(?!\s*\Z)[^\0]+\Z")]
_Texts = Annotated[list[_Text], msgspec.Meta(min_length=1)]
# TOML's own limit, which Python's parser does not keep.
_Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Fact = _Text | bool | _Integer | float
"""What a fact may be, as msgspec checks it."""

_Shape = TypeVar("_Shape", bound=msgspec.Struct)


class FileShape(msgspec.Struct):
    """The whole configuration."""

    snapshots: _Text = "snapshots"
    files: list[_Text] = []
    models: list[Any] = []
    tables: dict[str, Any] = {}


class ModelShape(msgspec.Struct):
    """One of `[[models]]`."""

    id: _Text
    revision: _Text | None = None
    alias: _Text | None = None
    facts: dict[str, Any] = {}


class TableShape(msgspec.Struct):
    """One of `[tables]`."""

    kind: _Text = DEFAULT_KIND
    models: _Texts | None = None
    columns: _Texts | None = None


def shaped(data: Any, shape: type[_Shape], place: Place) -> _Shape:
    """A table with the keys and types of `shape`."""
    if isinstance(data, dict):
        for key in data:
            if key not in shape.__struct_fields__:
                raise place.at(key).unknown("key", key, shape.__struct_fields__)
    whole: _Shape = converted(data, shape, place)
    return whole


def converted(data: Any, shape: Any, place: Place) -> Any:
    """A value as the type `shape`; what msgspec refuses is an error at its place."""
    try:
        return msgspec.convert(data, shape, strict=True)
    except msgspec.ValidationError as error:
        what, _, inner = str(error).partition(" - at `$")
        key = f"{place.key}{inner.rstrip('`')}".removeprefix(".")
        raise Place(place.path, key).wrong(in_toml_words(what)) from error
