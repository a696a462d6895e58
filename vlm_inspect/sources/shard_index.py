"""The index of a sharded checkpoint: which file holds which tensor."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from vlm_inspect.sources.header_format import bad_header, check_name, json_object, shown

INDEX_LIMIT = 100_000_000
"""The longest index that is read; that of a trillion parameters has thirty million bytes."""
MOST_SHARDS = 2_000
"""Files that one checkpoint may have; the largest published ones have some two hundred."""

_SEPARATORS = re.compile(r"[/\\]")
_NUMBERED = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.safetensors")


def parse_index(text: bytes, file: str, model: str) -> dict[str, tuple[str, ...]]:
    """The files that an index names, in order, each with its tensors' names.

    Raises BadHeaderError where it breaks the format, or names a file that lies elsewhere.
    """
    if len(text) > INDEX_LIMIT:
        raise bad_header(f"has more than {INDEX_LIMIT:,} bytes", file, model, subject="index")
    weight_map = json_object(text, file, model).get("weight_map")
    if not isinstance(weight_map, Mapping) or not weight_map:
        raise bad_header("has no weight_map", file, model, subject="index")
    files: dict[str, list[str]] = {}
    for name, shard in weight_map.items():
        files.setdefault(check_shard(shard, file, model), []).append(check_name(name, file, model))
    if len(files) > MOST_SHARDS:
        raise bad_header(f"names {len(files):,} files, and the limit is {MOST_SHARDS:,}", file, model)
    return {shard: tuple(files[shard]) for shard in sorted(files)}


def check_shard(shard: Any, file: str, model: str) -> str:
    """A file's name, if it can only be one beside the index: no way out of the folder."""
    if not isinstance(shard, str) or not shard.endswith(".safetensors") or not shard.isprintable():
        raise bad_header(
            f"names {shown(str(shard))}, which is no safetensors file", file, model, subject="index"
        )
    parts = _SEPARATORS.split(shard)
    if "" in parts or ".." in parts or "." in parts or ":" in shard or len(shard) > 255:  # noqa: PLR2004 - as files have
        raise bad_header(f"names {shown(shard)}, outside of the model's folder", file, model, subject="index")
    return shard


def numbered_shards(names: list[str]) -> list[str]:
    """All files of the checkpoint that these are of, by their names: `model-00001-of-00004.safetensors`."""
    for name in sorted(names):
        match = _NUMBERED.fullmatch(name)
        if match and 0 < int(match["count"]) <= MOST_SHARDS:
            stem, count = match["stem"], int(match["count"])
            return [f"{stem}-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)]
    return []
