"""Hostile checkpoints: headers of safetensors files, and the index of shards."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from functools import cache
from typing import Any

from tests.sparse import framed, header
from tools.fuzz.case import Case, Command
from tools.fuzz.mutation import mutated
from tools.fuzz.outputs import FORMS
from tools.fuzz.seeds import TINY, UNKNOWN, Shapes, tensors
from tools.fuzz.values import Fed, edited, written

_NATIVE = 0.02
"""The part of checkpoints that transformers' loader is asked about, which builds the model."""
_SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
_INDEX = "model.safetensors.index.json"


def of_header(rng: random.Random) -> Case:
    """A folder whose only safetensors file has a strange header."""
    file = _strange_file(rng)
    return _asked(rng, {"model.safetensors": file})


def of_index(rng: random.Random) -> Case:
    """A folder of two whole shards, and a strange index."""
    text = mutated(rng, _index_texts()) if rng.random() < 0.5 else written(_edited_indexes().example(rng))  # noqa: PLR2004
    return _asked(rng, {_INDEX: text, **_shards()})


def safetensors(shapes: Shapes) -> bytes:
    """A whole file with zeros for values."""
    start, size = header(shapes)
    return start + bytes(size)


def _asked(rng: random.Random, files: Mapping[str, bytes]) -> Case:
    form = ("--format", rng.choice(FORMS))
    native = rng.random() < _NATIVE
    config = TINY if native else UNKNOWN
    commands: tuple[Command, ...] = (
        ("show", "./model", "--builder", "header", *form),
        ("tree", "./model", "--builder", "header", *form),
        ("table", "./model", *form),
        ("verify", "./model", *form),
    )
    command = ("verify", "./model", *form) if native else rng.choice(commands)
    folder = {f"model/{name}": content for name, content in files.items()}
    return Case({"model/config.json": json.dumps(config).encode(), **folder}, (command,))


def _strange_file(rng: random.Random) -> bytes:
    way = rng.random()
    if way < 0.35:  # noqa: PLR2004 - the whole file's bytes, its length among them
        return mutated(rng, (safetensors(_few()), safetensors(tensors()), framed(b"{}")))
    if way < 0.6:  # noqa: PLR2004 - the JSON's bytes, in a frame that fits
        return framed(mutated(rng, (_json_of(_few()), _json_of(tensors()))))
    if way < 0.8:  # noqa: PLR2004 - values of the JSON
        return framed(written(_edited_headers().example(rng)))
    return safetensors(_strange_shapes(rng))


def _strange_shapes(rng: random.Random) -> dict[str, tuple[int, ...]]:
    """A header that keeps to the format, of tensors with strange names and shapes."""
    shapes = dict(_few() if rng.random() < 0.5 else tensors())  # noqa: PLR2004
    for _ in range(rng.randint(1, 6)):
        name = rng.choice(sorted(shapes))
        shape = shapes.pop(name)
        parts = name.split(".")
        parts[rng.randrange(len(parts))] = rng.choice(_PARTS)
        sides = tuple(rng.choice((side, 0, 1, 3)) for side in (*shape, *rng.choice(((), (2,), (0,), (1, 1)))))
        shapes[rng.choice((".".join(parts), name, name + ".weight"))] = sides
    return shapes


_PARTS = (
    *(
        "0",
        "1",
        "00",
        "\u00b2",
        "\u0663",
        "-1",
        "99999",
        "1e3",
        "layers",
        "experts",
        "weight",
        "bias",
        "q_proj",
        "qkv",
        "norm",
    ),
    *(
        "<b>",
        "a|b",
        "`",
        "```",
        "[x](y)",
        "=1",
        "@x",
        "$x$",
        "\\end{tabular}",
        "&amp;",
        "*",
        "?Linear",
        " ",
        "a b",
    ),
    *(
        "embed_tokens",
        "lm_head",
        "mlp",
        "gate_up_proj",
        "vision_tower",
        "weight_scale",
        "qweight",
        "g_idx",
        "x" * 300,
    ),
)


@cache
def _few() -> Shapes:
    """A dozen tensors, in as many kinds of modules."""
    wanted = ("embed_tokens", "layers.0.", "lm_head", "linear_1", "patch_embedding")
    return {name: shape for name, shape in tensors().items() if any(part in name for part in wanted)}


def _json_of(shapes: Shapes) -> bytes:
    return header(shapes)[0][8:]


@cache
def _edited_headers() -> Fed:
    return Fed(edited((json.loads(_json_of(_few())), json.loads(_json_of(tensors())))))


@cache
def _shards() -> Mapping[str, bytes]:
    names = sorted(_few())
    halves = names[: len(names) // 2], names[len(names) // 2 :]
    return {
        file: safetensors({name: _few()[name] for name in half})
        for file, half in zip(_SHARDS, halves, strict=True)
    }


@cache
def _index() -> dict[str, Any]:
    names = sorted(_few())
    half = len(names) // 2
    return {
        "metadata": {"total_size": 4_096},
        "weight_map": {name: _SHARDS[number >= half] for number, name in enumerate(names)},
    }


@cache
def _index_texts() -> tuple[bytes, ...]:
    return (json.dumps(_index(), indent=2).encode(),)


@cache
def _edited_indexes() -> Fed:
    return Fed(edited((_index(),)))
