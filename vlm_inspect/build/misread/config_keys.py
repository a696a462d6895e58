"""What a configuration's key speaks of, by the words of its name.

This is the one place that holds these words. A key is *structural* where it states how large, how many or
which parts a model has: read otherwise than it is meant, it makes another model. Everything that a key may
say of running, training, tokenising or pictures leaves the modules what they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Literal

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
