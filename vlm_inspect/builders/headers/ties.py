"""The head of a model whose checkpoint does not store it, because it is tied to the embedding."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import chain
from typing import Any

from msgspec import Struct, field

from vlm_inspect.builders.config_values import tie_settings
from vlm_inspect.builders.headers.classes import MATRIX, is_embedding_name
from vlm_inspect.builders.headers.config import first_architecture
from vlm_inspect.builders.headers.packings import ModelTensor

_EMBEDDING = re.compile(
    r"(^|\.)(embed_tokens|word_embeddings|wte|tok_embeddings|embed_in|shared)(\.weight|\.embedding)?$"
)
_HEAD = re.compile(r"(^|\.)(lm_head|embed_out|output_projection|codec_head)\.(\w+\.)*(weight|linear)$")
_GENERATES = re.compile(r"For(Causal|Conditional)")
_ASSUMED = (
    "The checkpoint holds no head and the configuration says nothing of one: "
    "it is taken to be the embedding, as transformers does."
)


class Tied(Struct, frozen=True):
    """A checkpoint's tensors, including the head that it does not store."""

    tensors: tuple[ModelTensor, ...]
    ties: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()
    unknown: Mapping[str, str] = field(default_factory=dict)


def tie(tensors: tuple[ModelTensor, ...], config: Mapping[str, Any]) -> Tied:
    """Add the head: stored, tied to the embedding, or unknown, according to the configuration."""
    found = [each for each in tensors if _EMBEDDING.search(each.name)]
    embedding = min(found, key=lambda each: each.name.count("."), default=None)
    if embedding is None or embedding.shape is None or len(embedding.shape) != MATRIX:
        return Tied(tensors)
    settings = set(tie_settings(config).values())
    head = _stored_head(tensors, embedding)
    if head is not None:
        is_tied = settings == {True} and head.shape == embedding.shape
        return Tied(tensors, ((embedding.name, head.name),) if is_tied else ())
    if settings == {False}:
        return Tied(tensors)
    if not settings and not _GENERATES.search(first_architecture(config) or ""):
        reason = "no head is stored, and nothing says that it is tied"
        return Tied(tensors, unknown={"lm_head": reason})
    # next to the `model` that holds the embedding, or at the root
    modules = embedding.name.split(".")
    before = modules[: modules.index("model")] if "model" in modules else []
    head = ModelTensor(".".join([*before, "lm_head", "weight"]), embedding.shape, dtype=embedding.dtype)
    return Tied((*tensors, head), ((embedding.name, head.name),), () if settings else (_ASSUMED,))


def _stored_head(tensors: tuple[ModelTensor, ...], embedding: ModelTensor) -> ModelTensor | None:
    """By its name, or by its shape: only heads and embeddings have the size of the vocabulary."""
    by_name = (each for each in tensors if _HEAD.search(each.name))
    by_shape = (
        each
        for each in tensors
        if each.shape == embedding.shape
        and each.name != embedding.name
        and not is_embedding_name(each.name.removesuffix(".weight").rpartition(".")[2])
    )
    return next(chain(by_name, by_shape), None)
