"""A difference as data, and as the bare names of what differs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vlm_inspect.codec import to_data
from vlm_inspect.difference import Difference
from vlm_inspect.render.cells import visible
from vlm_inspect.render.difference_wording import change_name, move_ends
from vlm_inspect.render.records import json_text

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
