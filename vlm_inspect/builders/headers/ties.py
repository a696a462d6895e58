"""The head of a model whose checkpoint does not hold it: it is the embedding, and no second tensor."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct, field

from vlm_inspect.builders.headers.classes import is_table_name
from vlm_inspect.builders.headers.config import first_architecture
from vlm_inspect.builders.headers.quantized import Logical

_TABLE = re.compile(r"(^|\.)(embed_tokens|word_embeddings|wte|tok_embeddings|embed_in|shared)\.weight$")
_HEAD = re.compile(r"(^|\.)(lm_head|embed_out|output_projection|codec_head)\.(\w+\.)*(weight|linear)$")
_GENERATES = re.compile(r"For(Causal|Conditional)")
_TEXT_PARTS = ("text_config", "llm_config", "language_config", "decoder")
_MATRIX = 2


class Tied(Struct, frozen=True):
    """A checkpoint's tensors with the head that is not stored, and the note about it."""

    tensors: tuple[Logical, ...]
    ties: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()
    unknown: Mapping[str, str] = field(default_factory=dict)


def tie(tensors: tuple[Logical, ...], config: Mapping[str, Any]) -> Tied:
    """The tensors with a head: stored, tied to the embedding, or unknown, as the configuration says."""
    table = _text_table(tensors)
    if table is None or table.shape is None or len(table.shape) != _MATRIX:
        return Tied(tensors)
    stated = set(_stated(config))
    head = _stored_head(tensors, table)
    if head is not None:
        one = stated == {True} and head.shape == table.shape
        return Tied(tensors, ((table.name, head.name),) if one else ())
    if stated == {False}:
        return Tied(tensors)
    if not stated and not _GENERATES.search(first_architecture(config) or ""):
        reason = "the checkpoint holds none, and nothing says that the embedding is one"
        return Tied(tensors, unknown={"lm_head": reason})
    name = _head_name(table.name)
    head = Logical(name, table.shape, dtype=table.dtype)
    return Tied((*tensors, head), ((table.name, name),), () if stated else (_ASSUMED,))


_ASSUMED = (
    "The checkpoint holds no head and the configuration says nothing of one: "
    "it is taken to be the embedding, as transformers does."
)


def _text_table(tensors: tuple[Logical, ...]) -> Logical | None:
    found = [each for each in tensors if _TABLE.search(each.name)]
    return min(found, key=lambda each: each.name.count("."), default=None)


def _stored_head(tensors: tuple[Logical, ...], table: Logical) -> Logical | None:
    """By its name, or by its shape: nothing but a head is as tall as the vocabulary, the tables left out."""
    named = next((each for each in tensors if _HEAD.search(each.name)), None)
    if named is not None:
        return named
    return next(
        (
            each
            for each in tensors
            if each.shape == table.shape
            and each.name != table.name
            and not is_table_name(each.name.removesuffix(".weight").rpartition(".")[2])
        ),
        None,
    )


def _stated(config: Mapping[str, Any]) -> Iterator[bool]:
    for part in (config, *(config.get(name) for name in _TEXT_PARTS)):
        stated = part.get("tie_word_embeddings") if isinstance(part, Mapping) else None
        if isinstance(stated, bool):
            yield stated


def _head_name(table: str) -> str:
    """The name of the head: a sibling of the `model` that holds the embedding, or at the root."""
    modules = table.split(".")
    before = modules[: modules.index("model")] if "model" in modules else []
    return ".".join([*before, "lm_head", "weight"])
