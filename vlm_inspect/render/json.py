"""Records as JSON, as the contract gives it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

from vlm_inspect.core.architecture import Architecture
from vlm_inspect.core.codec import to_data
from vlm_inspect.core.difference import Difference
from vlm_inspect.render.cells import Row, visible
from vlm_inspect.render.diff_text import change_name, move_ends


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


_LISTS = ("pairs", "changes", "moves", "paths", "incomparable")


def difference_json(difference: Difference) -> str:
    """A difference as JSON.

    ::

        { "before": {"id": …, "revision": …, "source": …}, "after": {…},
          "empty": false,
          "counts": {"changed": 13, "moved": 0, "added": 1, "removed": 1},
          "total_before": 8354764800, "total_after": 8480007232,
          "pairs": [{"role": "vision_encoder", "before": "model.vision_tower", "after": …,
                     "parameters_before": …, "parameters_after": …, "class_before": …, "class_after": …,
                     "layers_before": …, "layers_after": …}],
          "changes": [{"kind": "changed", "roles": ["vision_encoder"], "field": "layers",
                       "before": 24, "after": 27, "pairs": [0]}],
          "moves": [{"before": "model.vision_tower.vision_model", "after": "model.vision_tower",
                     "parameters": 391, "what": "module"}],
          "paths": [{"kind": "removed", "path": "model.layers.*.rotary_emb", "what": "module", "count": 33,
                     "before": "RotaryEmbedding", "after": null, "moved_from": null}],
          "incomparable": [{"roles": ["vision_encoder"], "field": "class", "before": "remote code",
                            "after": null, "pairs": [0]}],
          "versions_before": {"transformers": …}, "versions_after": {…} }

    Every key is always there. `before` and `after` are null where there is nothing on that side; of what
    is `incomparable` they are the reasons why it is unknown, and null where it is known. `pairs` of a
    change are positions in the list `pairs`; a change of the whole model has none, and no roles. `*` in a
    path stands for a number. `path` of what changed is the new one, and `moved_from` the old one where it
    is another. A move with an empty end is of the whole model.
    """
    return json_text(difference_data(difference))


def difference_data(difference: Difference) -> dict[str, Any]:
    """What `difference_json` writes."""
    told = to_data(difference)
    records = {name: [_whole(record) for record in getattr(difference, name)] for name in _LISTS}
    return {
        "before": told["before"],
        "after": told["after"],
        "empty": difference.empty,
        "counts": difference.counts(),
        "total_before": difference.total_before,
        "total_after": difference.total_after,
        **records,
        "versions_before": dict(difference.versions_before),
        "versions_after": dict(difference.versions_after),
    }


def _whole(record: Any) -> dict[str, Any]:
    """A record with all its keys: what `to_data` leaves out says nothing, and a script looks for it."""
    written = to_data(record)
    kind = {"kind": record.kind} if hasattr(record, "kind") else {}
    return kind | {
        name: written.get(name, _nothing(getattr(record, name))) for name in record.__struct_fields__
    }


def _nothing(value: object) -> object:
    return [] if value == () else value


def difference_names(difference: Difference) -> str:
    """The names of what differs, one per line: `vision_encoder.layers`, `a.b.* -> a.*`, paths as they are."""
    return "".join(f"{visible(name)}\n" for name in _names(difference))


def _names(difference: Difference) -> Iterator[str]:
    yield from dict.fromkeys(change_name(change) for change in difference.changes)
    yield from (" -> ".join(move_ends(move)) for move in difference.moves)
    yield from dict.fromkeys(change.path or "(the model itself)" for change in difference.paths)
