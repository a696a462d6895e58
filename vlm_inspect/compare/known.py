"""Facts by name, the known ones and the unknown, and what is unknown where a field of a record is."""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct, field

from vlm_inspect.difference import Value

# what the facts of one layer of several kinds begin with
_PREFIX = re.compile(
    r"^(stack \d+ )?(kind \d+ )?(mixer \d+ )?((text|vision|group \d+) (?=expert|shared|router))?"
)

# the fields of a record that may be unknown, by the names of the facts that they hold
COMPONENT_FIELDS = {"class_name": "class", "stacks": "layers"}
LAYER_FIELDS = {"class_name": "layer class", "mlp": "MLP", "norm_placement": "norm placement"}
ATTENTION_FIELDS = {
    "class_name": "attention",
    "kind": "attention kind",
    "key_value_heads": "key-value heads",
    "cross": "cross-attention",
    "qk_norm": "q/k norm",
    "bias": "attention bias",
    "positions": "attention positions",
    "rotary": "rotary kind",
}
NORM_FIELDS = {"class_name": "norm", "eps": "norm eps"}
EXPERT_FIELDS = {"per_token": "experts per token", "parameters": "expert parameters"}
MLP_FIELDS = {"class_name": "MLP", "activation": "activation", "experts": "experts"}

_EMBEDDING_FACTS = (
    "vocabulary",
    "embedding class",
    "patch projection",
    "patch size",
    "input channels",
    "positions",
    "further tables",
)
_STEP_FACTS = (
    "input width",
    "output width",
    "inner widths",
    "vocabulary",
    "steps",
    "query tokens",
    "resampler layers",
)
_ATTENTION_FACTS = (
    "attention",
    "attention kind",
    "heads",
    "key-value heads",
    "head width",
    "cross-attention",
    "mechanism",
    "sliding window",
    "attention chunk",
    "attention window",
    "key-value rank",
    "query rank",
    "value width",
    "q/k norm",
    "q/k norm width",
    "attention bias",
    "attention positions",
    "rotary kind",
    "rotary width",
    "rotary sections",
    "rotary base",
    "rotary factor",
    "attention features",
    "state width",
    "convolution",
)
_EXPERT_FACTS = (
    "experts",
    "experts per token",
    "expert width",
    "shared experts",
    "shared expert width",
    "router",
    "router scoring",
)
_MLP_FACTS = ("MLP", "MLP hidden width", "MLP gated", "activation", *_EXPERT_FACTS)
_NORM_FACTS = ("norm", "norm eps", "norms", "norm placement", "parallel")
_ENTRY_FACTS = tuple(f"{what} {fact}" for what in ("image", "video", "audio") for fact in ("entry", "token"))
# the facts that nobody can know where a field of the record is unknown, and those fields, nearest first
_PART_OF = {
    **dict.fromkeys(_EMBEDDING_FACTS, ("embeddings",)),
    **dict.fromkeys(_STEP_FACTS, ("stages", "embeddings")),
    **dict.fromkeys(_ATTENTION_FACTS, ("attention", "layers")),
    **dict.fromkeys(_MLP_FACTS, ("MLP", "layers")),
    **dict.fromkeys(_EXPERT_FACTS, ("experts", "MLP", "layers")),
    **dict.fromkeys(_NORM_FACTS, ("norms", "layers")),
    **dict.fromkeys(("layer class", "layer order"), ("layers",)),
    **dict.fromkeys(_ENTRY_FACTS, ("inputs",)),
}
GROUPS = frozenset({"embeddings", "stages", "inputs"})
"""Unknown fields that are no fact of their own: what is unknown are the facts that they would hold."""


class Facts(Struct, frozen=True):
    """Facts by name, in the order in which they are told, and the unknown ones with their reasons."""

    known: Mapping[str, Value] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)
    unseen: str | None = None
    """Why no module was looked at: then whatever is not known is unknown."""

    def why_unknown(self, name: str) -> str | None:
        """Why a fact is unknown; None where it is known, or where there is no such thing."""
        if name in self.unknown:
            return self.unknown[name]
        if name in self.known:
            return None
        bare = _PREFIX.sub("", name)
        reasons = {_PREFIX.sub("", other): reason for other, reason in self.unknown.items()}
        fields = (bare, *_PART_OF.get(bare, ()))
        return next((reasons[field] for field in fields if field in reasons), self.unseen)


def renamed(
    reasons: Mapping[str, str], names: Mapping[str, str], prefix: str = "", part: str = ""
) -> dict[str, str]:
    """Reasons by the names of the facts that they are about."""
    return {
        prefix + names.get(name, part + name.replace("_", " ")): reason for name, reason in reasons.items()
    }
