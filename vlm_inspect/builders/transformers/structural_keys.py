"""Compare a configuration's keys with what was built from it, by the words of their names.

A key is structural if it states a size, a count or a part of the model: if a class does not use it, it builds
another model. Keys about running, training, tokenising or image preprocessing are not. This is the only
place that holds these words.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import Any

from msgspec import Struct

from vlm_inspect.builders.config_values import is_number
from vlm_inspect.core.module_tree import ModuleNode

# bounded: configurations share a few thousand keys, but a stranger's may have any number of others
_cached = lru_cache(maxsize=4096)


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


def _pairs(words: str) -> dict[str, str]:
    return dict(pair.split("=") for pair in words.split())


_SPELLINGS = _pairs(
    "chans=channels dim=size dims=size width=size widths=size depths=depth emb=embed embd=embed "
    "embedding=embed embeddings=embed pos=position n=num number=num attn=attention ff=intermediate "
    "ffn=intermediate"
)
_PLURALS = _pairs("block=blocks expert=experts head=heads layer=layers")
# the part that a key belongs to: mm_hidden_size, vt_num_hidden_layers, text_hidden_size
_VISION_WORDS = _listed("mm vt vit vision visual image encoder")
_TEXT_WORDS = _listed("text llm language lm decoder")
_OTHER_OWNERS = _listed("audio speech video block init model config moe num")

_QUERIES = _listed("query queries latents")
# the more specific words first: patch_size is about the patch
_QUANTITIES: tuple[tuple[str, frozenset[str]], ...] = (
    ("vocabulary", _listed("vocab vocabulary")),
    ("patch", _listed("patch patches")),
    ("kernel", _listed("kernel stride")),
    ("rank", _listed("rank")),
    ("routing", _listed("per topk")),  # experts per token; some configurations call it top k
    ("experts", _listed("experts")),
    ("queries", _QUERIES),
    ("image", _listed("image")),
    ("heads", _listed("heads")),
    ("layers", _listed("layers depth blocks")),
    ("ratio", _listed("ratio multiplier")),
    ("width", _listed("size channels embed")),
)
# one of these words is needed too: an image's tokens, a patch's padding, a query's scale are no such quantity
_NEEDED_TOO: Mapping[str, frozenset[str]] = {
    "image": _listed("size"),
    "patch": _listed("size"),
    "queries": _listed("num latents"),
    "ratio": _listed("mlp intermediate"),
    "routing": _listed("experts moe"),
}
# the quantities that the shapes of parameters show
_SHOWN_BY_SHAPES = _listed("width patch kernel rank queries")

# a key with one of these words is not structural
_NOT_STRUCTURAL_WORDS = _listed(
    # running
    "cache implementation dtype ep tp pp dp parallel quantization compression group flash fused kernels "
    "backend device "
    # how far attention sees
    "window chunk "
    # training
    "dropout drop initializer initialization std range loss coef aux freeze frozen tune tuned lr "
    "learning gradient checkpoint pretraining jitter noise smoothing mask label labels layerdrop "
    # text and tokens
    "token tokens id ids template tokenizer length prompt placeholder "
    # generation
    "beam beams temperature penalty sampling repetition ngram "
    # images before they become patches
    "tile tiles split splits splitting crop crops resolution resolutions pixels pinpoints thumbnail fps "
    "frame frames aspect grid mean padding "
    # numbers that do not change the shape of a parameter
    "eps epsilon scale scaling factor theta rope rotary alpha beta gamma softcap logit interval freq "
    "step index indices indexes "
    # bookkeeping
    "version transformers commit path auto dir log "
    # multi-token prediction: its layers have a note of their own, see `not_built`
    "mtp nextn"
)
_NOT_STRUCTURAL_KEYS = (
    # limits on the input; with rotary positions there is no table of that length
    *("max_position_embeddings", "original_max_position_embeddings"),
    "projection_dim",  # of CLIP's contrastive head, which a tower inside a larger model does not have
)
# text under these keys names another checkpoint, whose configuration describes the part
_PART_WORDS = _listed("tower backbone encoder resampler abstractor")
# RGB images have three channels, whatever the key is called
_IMAGE_CHANNELS = 3


class Part(Struct, frozen=True, dict=True):
    """A configuration or sub-configuration as the classes read it, and the keys that its class declares."""

    path: str
    config: Any
    declared: frozenset[str]

    @cached_property
    def values(self) -> tuple[tuple[str, Any], ...]:
        """The declared keys and their values; cached, since every unused key is compared with them."""
        return tuple((key, value) for key, value in vars(self.config).items() if key in self.declared)

    @property
    def is_text(self) -> bool:
        """Whether it is the language model's: the only part with a vocabulary."""
        return "vocab_size" in vars(self.config) and "vocab_size" in self.declared

    def key_and_value(self, key: str) -> str:
        """`text_config.hidden_size 4096`."""
        path = f"{self.path}.{key}" if self.path else key
        return f"{path} {json.dumps(vars(self.config)[key], default=str)}"


class BuiltValues(Struct, frozen=True, dict=True):
    """The resolved configurations of a model, the whole model's first, and its modules."""

    parts: tuple[Part, ...]
    root: ModuleNode

    def built_instead(self, key: str, value: Any, part: Part) -> str | None:
        """Return what was built in place of what an unused key states.

        None if the key is not structural or the model has what it states. Empty if nothing corresponds to it.
        """
        if isinstance(value, str):
            return "" if _names_a_part(key) else None
        if not _is_structural(key, value):
            return None
        nearby = self._nearby(part)
        same_key = [each for each in nearby if each is not part and key in dict(each.values)]
        if any(_equal(vars(each.config)[key], value) for each in same_key):
            return None
        texts = [each for each in same_key if each.is_text]
        if texts and not part.is_text:
            return texts[0].key_and_value(key)
        if _quantity(key) == "vocabulary" and not any(each.is_text for each in nearby):
            return None  # a tower's vocabulary belongs to its pretraining
        same_quantity = self._same_quantity(key, part)
        return None if self._has(key, value, same_quantity) else _counterpart(key, value, same_quantity)

    def _nearby(self, part: Part) -> list[Part]:
        """The configuration itself and those inside it."""
        prefix = f"{part.path}." if part.path else ""
        return [each for each in self.parts if each is part or each.path.startswith(prefix)]

    def _same_quantity(self, key: str, part: Part) -> list[tuple[Part, str, Any]]:
        """The (part, key, value) of the same quantity: nearby, or in the part that the key names."""
        quantity, words, nearby = _quantity(key), _words(key), self._nearby(part)
        named = [each for each in self.parts if words & (_TEXT_WORDS if each.is_text else _VISION_WORDS)]
        return [
            (each, name, value)
            for each in (*nearby, *(each for each in named if each not in nearby))
            for name, value in each.values
            if _quantity(name) == quantity
        ]

    def _has(self, key: str, value: Any, same_quantity: list[tuple[Part, str, Any]]) -> bool:
        """Whether the model has this value of this quantity, under any key or as a side of a parameter."""
        if any(_equal(known, value) for _, _, known in same_quantity):
            return True
        contradicted = any(_core(name) == _core(key) for _, name, _ in same_quantity)
        quantity = _quantity(key)
        if contradicted or _is_list(value) or quantity not in _SHOWN_BY_SHAPES:
            return False
        flattened = quantity == "patch" and value * value * _IMAGE_CHANNELS in self._sides
        return flattened or value in self._sides or value == _IMAGE_CHANNELS

    @cached_property
    def _sides(self) -> frozenset[int]:
        """Every dimension of every parameter's shape."""
        return frozenset(side for _, shape in self.root.parameter_paths() for side in shape)


def _counterpart(key: str, value: Any, same_quantity: list[tuple[Part, str, Any]]) -> str:
    """The key that states the same under another spelling, or else the only one of the same quantity."""
    alike = [
        (part, name) for part, name, known in same_quantity if known is not None and _is_list(known) == _is_list(value)
    ]
    same = [(part, name) for part, name in alike if _core(name) == _core(key)]
    counterparts = same[:1] or (alike if len(alike) == 1 else [])
    return next((part.key_and_value(name) for part, name in counterparts), "")


def counts_prediction_layers(key: str) -> bool:
    """Whether a key counts layers for multi-token prediction: `num_nextn_predict_layers`."""
    found = _words(key)
    return bool(found & {"mtp", "nextn"}) and "layers" in found and not found & {"type", "types", "id", "ids"}


@_cached
def _words(key: str) -> frozenset[str]:
    """The words of a key in one spelling: `dim_embed` → size, embed; `n_layer` → num, layers."""
    found = frozenset(_SPELLINGS.get(word, word) for word in key.lower().split("_") if word)
    return frozenset(_PLURALS.get(word, word) for word in found) if "num" in found else found


@_cached
def _core(key: str) -> frozenset[str]:
    """The words of a key without those that name a part: `mm_hidden_size` → hidden, size."""
    return _words(key) - _VISION_WORDS - _TEXT_WORDS - _OTHER_OWNERS or _words(key)


@_cached
def _quantity(key: str) -> str | None:
    """What a number under this key counts or measures; None if it is not structural."""
    if key in _NOT_STRUCTURAL_KEYS or _is_not_structural(key):
        return None
    found = _words(key)
    fitting = (name for name, words in _QUANTITIES if found & words and found & _NEEDED_TOO.get(name, found))
    return next(fitting, None)


@_cached
def _names_a_part(key: str) -> bool:
    """Whether text under this key names another checkpoint's part: `mm_vision_tower`."""
    return bool(_words(key) & _PART_WORDS) and not _is_not_structural(key) and not key.endswith("_type")


def _is_not_structural(key: str) -> bool:
    found = _words(key)
    # query tokens are parameters
    return bool(found & _NOT_STRUCTURAL_WORDS) and not (found & _QUERIES and "tokens" in found)


def _is_structural(key: str, value: Any) -> bool:
    if isinstance(value, list):
        if all(map(is_number, value)):
            return _quantity(key) is not None
        found = _words(key)
        return bool(found & {"types", "pattern"}) and bool(found & {"layer", "layers", "block", "blocks"})
    # a switch states no size, and a class may do the same without it (GLM-4.1V's attention_bias)
    return is_number(value) and bool(value) and _quantity(key) is not None


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _equal(known: Any, value: Any) -> bool:
    return bool((list(known) if isinstance(known, tuple) else known) == value)
