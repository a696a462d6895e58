"""The names of modules and classes in published models: which names mean projector, encoder, head.

`role_rules.py` matches a module's attribute name or class name against these patterns. To support another
spelling, extend a pattern here.
"""

from __future__ import annotations

import re

from vlm_inspect.core.architecture import Role

TEXT_EMBEDDINGS = re.compile(r"^(embed_tokens|word_embeddings|wte|tok_embeddings|token_embeddings?|embed_in|shared)$")
HEADS = re.compile(r"^(lm_head|embed_out|output_projection)$")
TASK_HEADS = re.compile(
    r"^fc$|(^|_)(heads?|classifiers?|class_embed|bbox\w*|box_embed|scor(e|es|er|ing)|predict(or|ors|ions?)|logits"
    r"|regressor|reward|qa_outputs)$",
    re.IGNORECASE,
)
"""Names of modules that give classes, boxes, scores, rewards."""
TASK_CLASS = re.compile(r"For[A-Z]")
"""Classes of transformers that add the head of a task to a model: `ViTForImageClassification`."""
DECODERS = re.compile(r"(^|_)(?<!text_)decoder$", re.IGNORECASE)
"""Names of modules that turn an encoder's features into masks, boxes or pixels, in a model without text output."""
INPUTS = re.compile(r"(encoder|embedding|memory|prompt)", re.IGNORECASE)
"""Names of modules that read further input; they are not behind an encoder."""

TEXT = re.compile(r"(text|language|(^|_)llm(_|$))", re.IGNORECASE)
LANGUAGE = re.compile(r"^(language_model|text_model|text_decoder|decoder|llm|text_encoder)$")
LANGUAGE_MODULES = re.compile(r"^(language_model|text_model|text_decoder|llm)$")
"""The names in LANGUAGE that always hold a whole language model, with or without its head."""

PROJECTOR = re.compile(
    r"(projector|projection|(^|_)proj(_|\d|$)|connector|align|merger|adapter|resampler|bridge|abstractor"
    r"|q_?former|perceiver|(^|_)pool)",
    re.IGNORECASE,
)
VISION = re.compile(r"(vision|visual|image|video|(^|_)(img|vit|vpm|pixel)(_|$))", re.IGNORECASE)
AUDIO = re.compile(r"(audio|speech|sound|whisper|acoustic|(^|_)(voice|mel|wav)(_|$))", re.IGNORECASE)
# dit, action and diffusion generate robot actions: output that is not text, like images and speech; a depth
# decoder generates the codes of one moment of speech
GENERATOR = re.compile(
    r"(talker|token2wav|code2wav|vocoder|(^|_)generation(_|$)|(^|_)(dit|action|diffusion)(_|$)|^depth_decoder$)",
    re.IGNORECASE,
)
QUANTIZER = re.compile(r"(quanti[sz]|codebook)", re.IGNORECASE)
ANOTHER_MODALITY = re.compile(r"(mm_|modal)", re.IGNORECASE)
"""Names of projections from another modality that do not say which one."""

VISION_CLASS = re.compile(r"(Vision|Visual|ViT|CLIP|Siglip|Swin|Image|Pixtral)")
AUDIO_CLASS = re.compile(r"(Audio|Speech|Whisper|Conformer)")
PROJECTOR_CLASS = re.compile(r"(Projector|Projection|Connector|Aligner|Merger|Adapter|Resampler|QFormer|Perceiver)")

ROLE_NAMES = (
    (Role.PROJECTOR, PROJECTOR),  # first, because `vision_projection` matches two patterns
    (Role.AUDIO_ENCODER, AUDIO),
    (Role.VISION_ENCODER, VISION),
    (Role.LANGUAGE_MODEL, LANGUAGE),
)
"""The roles that an attribute name can give, in the order in which they are tried."""
NON_TEXT = (VISION, AUDIO, ANOTHER_MODALITY)
"""Names of modules that belong to another modality than text."""
