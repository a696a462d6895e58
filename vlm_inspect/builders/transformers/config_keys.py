"""What a configuration's key speaks of, by the words of its name.

This is the one place that holds these words. A key is *structural* where it states how large, how many or
which parts a model has: read otherwise than it is meant, it makes another model. Everything that a key may
say of running, training, tokenising or pictures leaves the modules what they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import Any, Literal

from msgspec import Struct

from vlm_inspect.core.module_tree import ModuleNode

Quantity = Literal[
    "vocabulary",
    "image",
    "patch",
    "kernel",
    "heads",
    "layers",
    "routing",
    "experts",
    "rank",
    "queries",
    "ratio",
    "width",
]


# configurations repeat a few thousand keys; what else stands in one is a stranger's, and is not kept for good
_remembered = lru_cache(maxsize=4096)


def _listed(names: str) -> frozenset[str]:
    return frozenset(names.split())


# one meaning, several spellings
_SPELLINGS: Mapping[str, str] = {
    "chans": "channels",
    "dim": "size",
    "dims": "size",
    "emb": "embed",
    "embd": "embed",
    "embedding": "embed",
    "embeddings": "embed",
    "pos": "position",
    "n": "num",
    "number": "num",
    "attn": "attention",
    "ff": "intermediate",
    "ffn": "intermediate",
    "width": "size",
    "widths": "size",
    "depths": "depth",
}
_COUNTED: Mapping[str, str] = {
    "block": "blocks",
    "expert": "experts",
    "head": "heads",
    "layer": "layers",
}
# what stands before a name to say whose it is: mm_hidden_size, vt_num_hidden_layers, text_hidden_size
VISION_WORDS = frozenset({"mm", "vt", "vit", "vision", "visual", "image", "encoder"})
TEXT_WORDS = frozenset({"text", "llm", "language", "lm", "decoder"})
_OTHER_OWNERS = frozenset({"audio", "speech", "video", "block", "init", "model", "config", "moe", "num"})

_QUERIES = frozenset({"query", "queries", "latents"})
# the quantity that a word names, the more particular words first: patch_size is of the patch
_QUANTITIES: tuple[tuple[Quantity, frozenset[str]], ...] = (
    ("vocabulary", frozenset({"vocab", "vocabulary"})),
    ("patch", frozenset({"patch", "patches"})),
    ("kernel", frozenset({"kernel", "stride"})),
    ("rank", frozenset({"rank"})),
    # experts per token, which some call the top k of them
    ("routing", frozenset({"per", "topk"})),
    ("experts", frozenset({"experts"})),
    ("queries", _QUERIES),
    ("image", frozenset({"image"})),
    ("heads", frozenset({"heads"})),
    ("layers", frozenset({"layers", "depth", "blocks"})),
    ("ratio", frozenset({"ratio", "multiplier"})),
    ("width", frozenset({"size", "channels", "embed"})),
)
# of these the word alone is no quantity: an image's tokens, a patch's padding, a query's scale
_ONLY_WITH_A_SIZE = frozenset({"image", "patch"})
_ONLY_WITH_A_COUNT = frozenset({"queries"})
_ONLY_OF_AN_MLP = frozenset({"ratio"})
_ONLY_OF_EXPERTS = frozenset({"routing"})

# a key with one of these words leaves the modules what they are; by what it speaks of
_PASSING: Mapping[str, frozenset[str]] = {
    "running": _listed(
        "cache implementation dtype ep tp pp dp parallel quantization compression group flash fused kernels "
        "backend device"
    ),
    "how far attention sees": _listed("window chunk"),
    "training": _listed(
        "dropout drop initializer initialization std range loss coef aux freeze frozen tune tuned lr "
        "learning gradient checkpoint pretraining jitter noise smoothing mask label labels layerdrop"
    ),
    "text and tokens": _listed("token tokens id ids template tokenizer length prompt placeholder"),
    "generation": _listed("beam beams temperature penalty sampling repetition ngram"),
    "pictures before they are patches": _listed(
        "tile tiles split splits splitting crop crops resolution resolutions pixels pinpoints thumbnail fps "
        "frame frames aspect grid mean padding"
    ),
    "numbers that no parameter's shape follows from": _listed(
        "eps epsilon scale scaling factor theta rope rotary alpha beta gamma softcap logit interval freq "
        "step index indices indexes"
    ),
    "bookkeeping": _listed("version transformers commit path auto dir log"),
    # layers that predict further tokens have a note of their own: see `not_built`
    "multi-token prediction": frozenset({"mtp", "nextn"}),
}
_PASSING_WORDS = frozenset().union(*_PASSING.values())
_PASSING_KEYS = frozenset(
    {
        # a bound on what the model may be asked; with rotary positions no table follows from it
        "max_position_embeddings",
        "original_max_position_embeddings",
        # of the head of CLIP's contrastive training, which a tower in a larger model goes without
        "projection_dim",
    }
)

# what shapes show: a parameter is as wide, a table of queries as long; layers and heads are in none
SHOWN_BY_SHAPES: frozenset[Quantity] = frozenset({"width", "patch", "kernel", "rank", "queries"})

# under these a name is another checkpoint's: what the part is made of is said there, not here
_PARTS = frozenset({"tower", "backbone", "encoder", "resampler", "abstractor"})


@_remembered
def words(key: str) -> tuple[str, ...]:
    """The words of a key, one spelling each: `dim_embed` → size, embed; `n_layer` → num, layers."""
    found = tuple(_SPELLINGS.get(word, word) for word in key.lower().split("_") if word)
    return tuple(_COUNTED.get(word, word) for word in found) if "num" in found else found


@_remembered
def core(key: str) -> frozenset[str]:
    """The words of a key without those that only say whose it is: `mm_hidden_size` is a hidden size."""
    found = frozenset(words(key))
    return found - VISION_WORDS - TEXT_WORDS - _OTHER_OWNERS or found


@_remembered
def quantity(key: str) -> Quantity | None:
    """What a number under this key counts or measures, where that is structure."""
    if key in _PASSING_KEYS or _is_passing(key):
        return None
    found = frozenset(words(key))
    for name, named in _QUANTITIES:
        if found & named and _is_whole(name, found):
            return name
    return None


@_remembered
def names_a_part(key: str) -> bool:
    """Whether text under this key names a part that is described elsewhere: `mm_vision_tower`."""
    return bool(frozenset(words(key)) & _PARTS) and not _is_passing(key) and not key.endswith("_type")


@_remembered
def is_pattern(key: str) -> bool:
    """Whether a list under this key says of what kind each layer is."""
    found = frozenset(words(key))
    return bool(found & {"types", "pattern"}) and bool(found & {"layer", "layers", "block", "blocks"})


def counts_further_tokens(key: str) -> bool:
    """Whether a number under this key is of layers for further tokens: `num_nextn_predict_layers`."""
    found = frozenset(words(key))
    return bool(found & {"mtp", "nextn"}) and "layers" in found and not found & {"type", "types", "id", "ids"}


def _is_passing(key: str) -> bool:
    found = frozenset(words(key))
    # query tokens are parameters, learned as they are
    return bool(found & _PASSING_WORDS) and not (found & _QUERIES and "tokens" in found)


def _is_whole(name: Quantity, found: frozenset[str]) -> bool:
    """Whether the word is of the quantity itself, and not of something beside it."""
    if name in _ONLY_WITH_A_SIZE:
        return "size" in found
    if name in _ONLY_OF_EXPERTS:
        return bool(found & {"experts", "moe"})
    if name in _ONLY_WITH_A_COUNT:
        return "num" in found or "latents" in found
    return name not in _ONLY_OF_AN_MLP or bool(found & {"mlp", "intermediate"})


# an image has three, whatever a configuration calls them
_COLOURS = 3


class Part(Struct, frozen=True, dict=True):
    """A configuration as the classes read it, and the keys that its class declares."""

    path: str
    config: Any
    declared: frozenset[str]

    @cached_property
    def values(self) -> tuple[tuple[str, Any], ...]:
        """What its class read, by key. Made once: it is looked through for every key that was not read."""
        return tuple((key, value) for key, value in vars(self.config).items() if key in self.declared)

    @property
    def is_text(self) -> bool:
        """Whether it is of what reads and writes tokens: the only part with a vocabulary."""
        return "vocab_size" in vars(self.config) and "vocab_size" in self.declared

    def says(self, key: str) -> str:
        """`text_config.hidden_size 4096`."""
        path = f"{self.path}.{key}" if self.path else key
        return f"{path} {json.dumps(vars(self.config)[key], default=str)}"


class BuiltValues(Struct, frozen=True, dict=True):
    """The resolved configurations of a model, the whole one first, and its modules."""

    parts: tuple[Part, ...]
    root: ModuleNode

    def instead_of(self, key: str, value: Any, part: Part) -> str | None:
        """What was built where an unread key states something else.

        None where the key states no structure, or what was built has it; empty where nothing built is of
        that name.
        """
        if isinstance(value, str):
            return "" if names_a_part(key) else None
        if not _is_structure(key, value):
            return None
        namesakes = [each for each in self._near(part) if each is not part and key in dict(each.values)]
        if any(_equal(vars(each.config)[key], value) for each in namesakes):
            return None
        texts = [each for each in namesakes if each.is_text]
        if texts and not part.is_text:
            return texts[0].says(key)
        if quantity(key) == "vocabulary" and not any(each.is_text for each in self._near(part)):
            return None  # a tower's vocabulary is its pretraining's
        return None if self._has(key, value, part) else self._akin(key, value, part)

    def _near(self, part: Part) -> list[Part]:
        """The configuration itself and those inside it."""
        prefix = f"{part.path}." if part.path else ""
        return [each for each in self.parts if each is part or each.path.startswith(prefix)]

    def _spoken_of(self, key: str, part: Part) -> list[Part]:
        """Where what a key speaks of may be stated: nearby, or in the part that its name names."""
        found = frozenset(words(key))
        near = self._near(part)
        named = [
            each
            for each in self.parts
            if each not in near and found & (TEXT_WORDS if each.is_text else VISION_WORDS)
        ]
        return [*near, *named]

    def _has(self, key: str, value: Any, part: Part) -> bool:
        """Whether what was built has that very value of that very quantity, under whatever name."""
        of = quantity(key)
        stated = [
            (name, known)
            for each in self._spoken_of(key, part)
            for name, known in each.values
            if quantity(name) == of
        ]
        if any(_equal(known, value) for _, known in stated):
            return True
        contradicted = any(core(name) == core(key) for name, _ in stated)
        return not contradicted and not _is_list(value) and self._is_a_side(of, value)

    def _is_a_side(self, of: Quantity | None, value: Any) -> bool:
        """Whether a parameter is as wide; of patches that are flattened, as wide as all their pixels."""
        if of not in SHOWN_BY_SHAPES:
            return False
        patch = of == "patch" and value * value * _COLOURS in self._sides
        return patch or value in self._sides or value == _COLOURS

    @cached_property
    def _sides(self) -> frozenset[int]:
        return _sides(self.root)

    def _akin(self, key: str, value: Any, part: Part) -> str:
        """What was built under another spelling of the name, or else as the only one of its quantity.

        Empty where there is no such thing.
        """
        of = quantity(key)
        alike = [
            (each, name)
            for each in self._spoken_of(key, part)
            for name, known in each.values
            if known is not None and _is_list(known) == _is_list(value) and quantity(name) == of
        ]
        same = [(each, name) for each, name in alike if core(name) == core(key)]
        counterparts = same[:1] or (alike if len(alike) == 1 else [])
        return next((each.says(name) for each, name in counterparts), "")


def _is_structure(key: str, value: Any) -> bool:
    if isinstance(value, list):
        numbers = all(_is_number(item) for item in value)
        return quantity(key) is not None if numbers else is_pattern(key)
    # a switch states no size, and a class may do the same without it (GLM-4.1V's attention_bias)
    return _is_number(value) and bool(value) and quantity(key) is not None


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _equal(known: Any, value: Any) -> bool:
    return bool((list(known) if isinstance(known, tuple) else known) == value)


def _sides(root: ModuleNode) -> frozenset[int]:
    """Every side of every parameter."""
    seen: dict[int, ModuleNode] = {}
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node) not in seen:
            seen[id(node)] = node
            waiting += [child for _, child in node.children]
    return frozenset(side for node in seen.values() for _, shape in node.parameters for side in shape)
