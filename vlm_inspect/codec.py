"""Records as JSON and back, derived from their fields.

msgspec does the work: it converts and checks nested records in one pass, names the path of a
wrong value, and imports in a fraction of what other validators take. What is written here is only the
contract's rule for what is left out: a value that does not arise is not written, one that is unknown
is written as null with its reason beside it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from vlm_inspect.architecture import SCHEMA_VERSION, Architecture
from vlm_inspect.errors import InvalidConfigError

_ALWAYS_WRITTEN = {
    "components",
    "parameters",
    "path",
    "ties",
    "revision",
    "schema_version",
    "model_type",
    "model_class",
}
# of these, none at all says something else than nothing known
_EMPTY_IS_AN_ANSWER = {"attention_backends"}
_NOTHING: tuple[object, ...] = ((), [], {}, "")
# fields that have no default to fall back to
_NULL_WITHOUT_DEFAULT = {"model_type", "model_class"}


def to_data(record: Any) -> Any:
    """A record as JSON-able data, keys in the order of its fields."""
    return _leave_out(msgspec.to_builtins(record))


def architecture_from_data(data: Any) -> Architecture:
    """The record that `to_data` wrote. Raises InvalidConfigError where it is not one, or is newer."""
    version = data.get("schema_version") if isinstance(data, dict) else None
    if version != SCHEMA_VERSION:
        raise InvalidConfigError(
            f"a record of schema {SCHEMA_VERSION} was expected, and this one says {version!r}.",
            hint="Write it again with this vlm-inspect, or use the vlm-inspect that wrote it.",
        )
    try:
        record: Architecture = msgspec.convert(_restored(data), Architecture, strict=True)
    except msgspec.ValidationError as error:
        raise InvalidConfigError(f"not a record of vlm-inspect: {error}") from error
    return record


def _leave_out(data: Any) -> Any:
    """The contract's rule for what is not written, and null for what is unknown."""
    if isinstance(data, (list, tuple)):
        return [_leave_out(item) for item in data]
    if not isinstance(data, dict):
        return data
    reasons = data.get("unknown") or {}
    kept = {}
    for key, value in data.items():
        says_nothing = value is None or (value in _NOTHING and key not in _EMPTY_IS_AN_ANSWER)
        if key in _ALWAYS_WRITTEN or key in reasons or not says_nothing:
            kept[key] = None if key in reasons and value in _NOTHING else _leave_out(value)
    return kept


def _restored(data: Any) -> Any:
    """As `_leave_out` found it: a null with a reason is the field's own way to hold nothing."""
    if isinstance(data, list):
        return [_restored(item) for item in data]
    if not isinstance(data, dict):
        return data
    reasons = data.get("unknown")
    known = {
        key: value
        for key, value in data.items()
        if value is not None
        or key in _NULL_WITHOUT_DEFAULT
        or not isinstance(reasons, dict)
        or key not in reasons
    }
    return {key: _restored(value) for key, value in known.items()}
