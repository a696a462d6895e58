"""What the field calls its parts: the names of attributes and classes that the finders know."""

from __future__ import annotations

import re

TEXT_EMBEDDINGS = re.compile(r"^(embed_tokens|word_embeddings|wte|tok_embeddings|embed_in|shared)$")
HEADS = re.compile(r"^(lm_head|embed_out|output_projection)$")

LANGUAGE = re.compile(r"^(language_model|text_model|text_decoder|decoder|llm|text_encoder)$")
LANGUAGE_MODULES = re.compile(r"^(language_model|text_model|text_decoder|llm)$")
"""Those of them that hold a whole language model, its head at most beside it."""

PROJECTOR = re.compile(
    r"(projector|projection|(^|_)proj(_|\d|$)|connector|align|merger|adapter|resampler|bridge|abstractor"
    r"|q_?former|perceiver|(^|_)pool)",
    re.IGNORECASE,
)
VISION = re.compile(r"(vision|visual|image|video|(^|_)(img|vit|vpm|pixel)(_|$))", re.IGNORECASE)
AUDIO = re.compile(r"(audio|speech|sound|whisper|acoustic|(^|_)(voice|mel|wav)(_|$))", re.IGNORECASE)
# the last three make a robot's actions: output that is no text, made step by step as images and speech are
GENERATOR = re.compile(
    r"(talker|token2wav|code2wav|vocoder|(^|_)generation(_|$)|(^|_)(dit|action|diffusion)(_|$))",
    re.IGNORECASE,
)
QUANTISER = re.compile(r"(quanti[sz]|codebook)", re.IGNORECASE)
ANOTHER_MODALITY = re.compile(r"(mm_|modal)", re.IGNORECASE)
"""Names that say of a map that it comes from elsewhere, and not whence."""

VISION_CLASS = re.compile(r"(Vision|Visual|ViT|CLIP|Siglip|Swin|Image|Pixtral)")
AUDIO_CLASS = re.compile(r"(Audio|Speech|Whisper|Conformer)")
PROJECTOR_CLASS = re.compile(
    r"(Projector|Projection|Connector|Aligner|Merger|Adapter|Resampler|QFormer|Perceiver)"
)


def last(path: str) -> str:
    """The last name of a path: `model.visual.merger` → `merger`."""
    return path.rpartition(".")[2]


def parent(path: str) -> str:
    """The path without its last name; the root's is empty."""
    return path.rpartition(".")[0]
