"""What the keys of configurations state, by the words of their names.

`n_layer`, `depth` and `num_hidden_layers` state one quantity in different words. Keys about running, training,
tokenising or image preprocessing state no structure. This is the only place that holds these words.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

# bounded: configurations share a few thousand keys, but a stranger's may have any number of others
_cached = lru_cache(maxsize=4096)


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


def _pairs(words: str) -> dict[str, str]:
    return dict(pair.split("=") for pair in words.split())


_SPELLINGS = _pairs(
    "chans=channels dims=dim width=dim widths=dim d=dim sizes=size depth=layers depths=layers blocks=layers "
    "emb=embed embd=embed embedding=embed embeddings=embed img=image pos=position n=num number=num attn=attention "
    "ff=intermediate ffn=intermediate moe=experts topk=per query=queries latent=latents kv=key "
    "expert=experts perceiver=resampler"
)
_PLURALS = _pairs("block=layers head=heads layer=layers")
# the kind of part that a word names
_PART_KINDS = {
    **dict.fromkeys(("mm", "vt", "vit", "vision", "visual"), "vision"),
    **dict.fromkeys(("text", "llm", "language", "lm", "decoder"), "text"),
    **dict.fromkeys(("audio", "speech", "sound"), "audio"),
    "encoder": "encoder",
}
_MEASURES = _listed("size dim")
# these words change nothing about what is counted or measured
_FILLERS = _listed("num hidden model attention spatial total local routed block in tok value init config embed")
# whatever is measured in these is measured in one way: `intermediate_size` and `ffn_dim` are the same
_QUANTITIES = _listed("intermediate head heads layers experts patch image kernel channels queries latents")
WIDTH = frozenset({"width"})
HEADS, LAYERS, PATCH, IMAGE = (frozenset({each}) for each in ("heads", "layers", "patch", "image"))
HEAD_WIDTH, MLP_WIDTH, EXPERTS = frozenset({"head"}), frozenset({"intermediate"}), frozenset({"experts"})
MLP_RATIO = frozenset({"mlp", "ratio"})

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
    # text and tokens; limits on the input
    "token tokens id ids template tokenizer length prompt placeholder max "
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
# text under these keys names another checkpoint, whose configuration describes the part
_CHECKPOINT_WORDS = _listed("tower backbone encoder resampler abstractor")
# a part between an encoder and the language model, or one that few classes have
_PART_WORDS = _listed("resampler projector abstractor qformer adapter queries latents")
# these are about how a model is used, and switch no part on
_NO_SWITCHES = _listed("is_decoder is_encoder_decoder")
# these words turn a switch around: `disable_resampler`
_NEGATIONS = _listed("disable disabled without no skip")
# these words make a switch of a part's name, and name no part
_SWITCH_WORDS = _FILLERS | _listed(
    "use using enable enabled has is with add do apply number count layers size dim type"
)


@_cached
def words_of(key: str) -> frozenset[str]:
    """Return the words of a key in one spelling: `dim_embed` → dim, embed; `n_layer` → num, layers."""
    found = frozenset(_SPELLINGS.get(word, word) for word in key.lower().split("_") if word)
    return frozenset(_PLURALS.get(word, word) for word in found) if "num" in found else found


@_cached
def quantity_of(key: str) -> frozenset[str] | None:
    """Return what a number under this key counts or measures, whichever part it is of; None if no structure."""
    found = words_of(key)
    bare = (found - _FILLERS).difference(_PART_KINDS)
    if is_not_structural(key):
        return None
    if bare & {"ratio", "multiplier"}:
        return MLP_RATIO if bare & {"mlp", "intermediate"} else None
    if bare <= _MEASURES:  # `n_embd` has no word of measure
        return WIDTH if found & {*_MEASURES, "embed"} else None
    return _counted(found, bare)


def _counted(found: frozenset[str], bare: frozenset[str]) -> frozenset[str] | None:
    rest = bare - _MEASURES
    if rest & {"patch", "image"} and found & {"hidden", "embed"}:
        return found  # the width of an embedding, not the size of a patch
    if rest == EXPERTS and bare != rest:
        return rest | {"dim"}  # how wide experts are, not how many
    if rest - EXPERTS == MLP_WIDTH:
        return MLP_WIDTH  # a class without experts of another width has one key for both
    return rest if rest & _QUANTITIES else bare if bare != rest else None


def part_kinds(names: Iterable[str]) -> frozenset[str]:
    """Return the kinds of parts that keys or sections are named for: vision, text, audio, encoder."""
    return frozenset(_PART_KINDS[word] for name in names for word in words_of(name) if word in _PART_KINDS)


def states_part(names: Iterable[str]) -> bool:
    """Whether one of these names is that of a part that a class either has or lacks."""
    return any(words_of(name) & _PART_WORDS for name in names)


def switched_off(key: str, *, is_set: bool) -> frozenset[str]:
    """Return the words of the part that a key, set or not, switches off: `resampler` of `use_resampler`."""
    found = words_of(key)
    is_off = is_set == bool(found & _NEGATIONS) and key not in _NO_SWITCHES
    return found - _SWITCH_WORDS - _NEGATIONS if is_off else frozenset()


@_cached
def names_checkpoint(key: str) -> bool:
    """Whether text under this key names the checkpoint of a part: `mm_vision_tower`."""
    return bool(words_of(key) & _CHECKPOINT_WORDS) and not is_not_structural(key) and not key.endswith("_type")


@_cached
def lists_layer_kinds(key: str) -> bool:
    """Whether a list under this key has the kind of each layer: `layer_types`."""
    found = words_of(key)
    return bool(found & {"types", "pattern"}) and bool(found & {"layer", "layers", "block"})


def counts_prediction_layers(key: str) -> bool:
    """Whether a key counts layers for multi-token prediction: `num_nextn_predict_layers`."""
    found = words_of(key)
    return bool(found & {"mtp", "nextn"}) and "layers" in found and not found & {"type", "types", "id", "ids"}


@_cached
def is_not_structural(key: str) -> bool:
    """Whether a key is about running, training, text or images, and not about modules."""
    found = words_of(key)
    # query tokens are parameters
    return bool(found & _NOT_STRUCTURAL_WORDS) and not (found & {"queries"} and "tokens" in found)
