"""Safetensors files with real headers and holes for data: the real shapes at no cost of disk."""

import json
import math

BITS = {
    "F4": 4,
    "U8": 8,
    "I16": 16,
    "U16": 16,
    "U32": 32,
    "F8_E8M0": 8,
    "I8": 8,
    "BOOL": 8,
    "F8_E4M3": 8,
    "F16": 16,
    "BF16": 16,
    "F32": 32,
    "I32": 32,
    "I64": 64,
}


def header(tensors, dtype="BF16", metadata=None):
    """The header that safetensors would write for tensors of these shapes, its length included.

    `tensors`: name → shape, or name → (dtype, shape).
    """
    entries = {"__metadata__": {"format": "pt"} if metadata is None else metadata}
    end = 0
    for name, what in tensors.items():
        kind, shape = what if what and isinstance(what[0], str) else (dtype, what)
        start, end = end, end + math.prod(shape) * BITS[kind] // 8
        entries[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [start, end]}
    return framed(json.dumps(entries, separators=(",", ":")).encode()), end


def framed(text):
    """A header's JSON, padded and behind its length, as safetensors has it."""
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def write(path, tensors, dtype="BF16", metadata=None):
    """A file with these tensors, and a hole where their values would be; returns the bytes of its header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    start, size = header(tensors, dtype, metadata)
    with path.open("wb") as file:
        file.write(start)
        file.truncate(len(start) + size)
    return len(start)


def write_sharded(folder, tensors, shards, dtype="BF16"):
    """A checkpoint in so many files, with its index; returns the bytes of all headers."""
    names = list(tensors)
    weight_map, total = {}, 0
    for number in range(shards):
        file = f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
        part = names[number * len(names) // shards : (number + 1) * len(names) // shards]
        total += write(folder / file, {name: tensors[name] for name in part}, dtype)
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2), encoding="utf-8")
    return total


def header_bytes(path):
    """Bytes of a file's header, those of its length included."""
    with path.open("rb") as file:
        return int.from_bytes(file.read(8), "little") + 8
