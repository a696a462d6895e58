"""Hostile adapters: their configuration, with patterns that are a stranger's, and their headers."""

from __future__ import annotations

import json
import random
from functools import cache
from typing import Any

from tools.fuzz.case import Case
from tools.fuzz.kinds.checkpoints import safetensors
from tools.fuzz.mutation import mutated
from tools.fuzz.outputs import FORMS
from tools.fuzz.seeds import TINY
from tools.fuzz.values import Fed, edited, written

_ADAPTER: dict[str, Any] = {
    "peft_type": "LORA",
    "base_model_name_or_path": "./base",
    "r": 2,
    "lora_alpha": 4,
    "target_modules": ["q_proj", "v_proj"],
    "exclude_modules": None,
    "modules_to_save": None,
    "layers_to_transform": None,
    "rank_pattern": {},
    "alpha_pattern": {},
    "bias": "none",
}
_IN_WORDS = {**_ADAPTER, "target_modules": r".*language_model.*\.(q|v)_proj"}
_LAYER = "base_model.model.model.language_model.layers.0.self_attn"
_TENSORS = {
    f"{_LAYER}.q_proj.lora_A.weight": (2, 16),
    f"{_LAYER}.q_proj.lora_B.weight": (16, 2),
    f"{_LAYER}.v_proj.lora_A.weight": (2, 16),
    f"{_LAYER}.v_proj.lora_B.weight": (16, 2),
}
_WHOLE = safetensors(_TENSORS)


def of_files(rng: random.Random) -> Case:
    """An adapter of which one of the two files is strange, over a small model."""
    config, tensors = json.dumps(_ADAPTER).encode(), _WHOLE
    way = rng.random()
    if way < 0.3:  # noqa: PLR2004
        tensors = mutated(rng, (_WHOLE,))
    elif way < 0.6:  # noqa: PLR2004
        config = mutated(rng, (config, json.dumps(_IN_WORDS).encode()))
    else:
        config = written(_edited().example(rng))
    files = {
        "base/config.json": json.dumps(TINY).encode(),
        "adapter/adapter_config.json": config,
        "adapter/adapter_model.safetensors": tensors,
    }
    base = rng.choice(((), ("--base", "./base")))
    command = ("verify", "./adapter", *base, "--offline", "--format", rng.choice(FORMS))
    # the base of an adapter in a folder may lie anywhere on the machine that it was made on
    return Case(files, (command,), starts=True, anywhere=True)


@cache
def _edited() -> Fed:
    return Fed(edited((_ADAPTER, _IN_WORDS)))
