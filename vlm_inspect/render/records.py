"""Records as JSON, as the contract gives it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from vlm_inspect.architecture import Architecture
from vlm_inspect.codec import to_data
from vlm_inspect.render.rows import Row


def record_json(architecture: Architecture) -> str:
    """One record."""
    return json_text(to_data(architecture))


def records_json(rows: Sequence[Row]) -> str:
    """A list of records; a model that could not be answered keeps its place and says why."""
    return json_text([_record(row) for row in rows])


def json_text(data: Any) -> str:
    """JSON as people and diffs read it. What no terminal should be sent is escaped."""
    written = json.dumps(_finite(data), indent=2, ensure_ascii=False)
    return "".join(map(_visible_line, written.splitlines(keepends=True))) + "\n"


def _visible_line(line: str) -> str:
    if line.rstrip("\n").isprintable():
        return line
    return "".join(char if char == "\n" or char.isprintable() else json.dumps(char)[1:-1] for char in line)


def _finite(data: Any) -> Any:
    """The data without what JSON cannot say: an eps that is not a number is none."""
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_finite(item) for item in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def _record(row: Row) -> Any:
    if row.architecture is not None:
        return to_data(row.architecture)
    model = to_data(row.model) if row.model else {"id": row.name}
    return {"model": model, "error": _error(row)}


def _error(row: Row) -> dict[str, str]:
    if row.error is None:
        return {"type": "VlmInspectError", "message": "no record", "hint": ""}
    return {"type": row.error.type, "message": row.error.message, "hint": row.error.hint}
