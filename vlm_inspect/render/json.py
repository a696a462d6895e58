"""Records and differences as JSON, as the contract defines it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from vlm_inspect.core.architecture import Architecture
from vlm_inspect.core.codec import to_data
from vlm_inspect.core.difference import Difference
from vlm_inspect.render.cells import Failure, Row, escape_control_chars
from vlm_inspect.render.diff_text import move_ends


def record_json(architecture: Architecture) -> str:
    """One record."""
    return to_json(to_data(architecture))


def records_json(rows: Sequence[Row]) -> str:
    """A list of records; a model that could not be inspected has its error instead."""
    return to_json([_record(row) for row in rows])


def to_json(data: Any) -> str:
    """Indented JSON. Control characters are escaped, infinite and NaN numbers are null."""
    lines = json.dumps(_without_infinities(data), indent=2, ensure_ascii=False).splitlines(keepends=True)
    return "".join(map(_escape_line, lines)) + "\n"


def difference_json(difference: Difference) -> str:
    """A difference as JSON, as docs/reference/record.md describes it."""
    return to_json(difference_data(difference))


def difference_data(difference: Difference) -> dict[str, Any]:
    """The data that `difference_json` writes."""
    data = to_data(difference)
    lists = ("pairs", "changes", "moves", "paths", "incomparable")
    return {
        "before": data["before"],
        "after": data["after"],
        "empty": difference.empty,
        "counts": difference.counts(),
        "total_before": difference.total_before,
        "total_after": difference.total_after,
        "uncertain_before": difference.uncertain_before,
        "uncertain_after": difference.uncertain_after,
        **{name: [_all_fields(item) for item in getattr(difference, name)] for name in lists},
        "versions_before": dict(difference.versions_before),
        "versions_after": dict(difference.versions_after),
    }


def difference_names(difference: Difference) -> str:
    """The names of all differences, one per line.

    `vision_encoder.layers`, `language_model+lm_head.vocabulary` if two share it, `a.b.* -> a.*`, or a path.
    """
    changes = (  # a change of the whole model has no roles
        f"{'+'.join(role.value for role in change.roles)}.{change.field}".removeprefix(".")
        for change in difference.changes
    )
    moves = (" -> ".join(move_ends(move)) for move in difference.moves)
    paths = (change.path or "(the model itself)" for change in difference.paths)
    names = (*dict.fromkeys(changes), *moves, *dict.fromkeys(paths))
    return "".join(f"{escape_control_chars(name)}\n" for name in names)


def _record(row: Row) -> Any:
    if row.architecture is not None:
        return to_data(row.architecture)
    model = to_data(row.model) if row.model else {"id": row.name}
    return {"model": model, "error": _all_fields(row.error or Failure("VlmInspectError", "no record"))}


def _all_fields(item: Any) -> dict[str, Any]:
    """A record with all its keys: `to_data` omits empty ones, but scripts expect them."""
    data = to_data(item)
    kind = {"kind": item.kind} if hasattr(item, "kind") else {}
    fields = {name: getattr(item, name) for name in item.__struct_fields__}
    return kind | {name: data.get(name, [] if value == () else value) for name, value in fields.items()}


def _escape_line(line: str) -> str:
    if line.rstrip("\n").isprintable():
        return line
    return "".join(char if char == "\n" or char.isprintable() else json.dumps(char)[1:-1] for char in line)


def _without_infinities(data: Any) -> Any:
    """The data with null for each number that JSON does not have, such as an infinite eps."""
    if isinstance(data, dict):
        return {key: _without_infinities(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_without_infinities(item) for item in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
