"""The attention kernel that a configuration asks for.

Since transformers 4.48 a kernel is chosen when a model runs, and nothing is built from it. Before, it
chose the class: `LlamaSdpaAttention`, `LlamaFlashAttention2`. There a model is built with the kernel
that its configuration asks for, or else with the one that its version picks by itself, as for every user
of that version; but whether flash attention is installed here is not asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

KEYS = frozenset(
    {
        "_attn_implementation",
        "attn_implementation",
        "_attn_implementation_internal",
        "_attn_implementation_autoset",
        "_flash_attn_2_enabled",
    }
)
"""The keys by which configurations speak of the kernel, their library's own notes on it included."""

_FLASH = "flash_attention_2"
# sdpa is not asked for: a version takes it unasked where its class can, and refuses it where not
_ASKED_FOR = frozenset({"eager", _FLASH})
# the check of the versions in which a kernel could be a class; it wants the package and a GPU
_CHECK = "_check_and_enable_flash_attn_2"


def stated(config: Mapping[str, Any]) -> dict[str, str]:
    """The kernel that config.json states, as an argument; none where nothing is built from it."""
    asked = config.get("_attn_implementation") or config.get("attn_implementation")
    return {"attn_implementation": asked} if asked in _ASKED_FOR and _choose_classes() else {}


@contextmanager
def granted() -> Iterator[None]:
    """While this lasts, a model gets the flash attention that it asks for and supports, installed or not."""
    if not _choose_classes():
        yield
        return
    from transformers import PreTrainedModel

    own = PreTrainedModel.__dict__[_CHECK]
    setattr(PreTrainedModel, _CHECK, classmethod(_grant))
    try:
        yield
    finally:
        setattr(PreTrainedModel, _CHECK, own)


def _grant(model_class: Any, config: Any, *_: Any, **__: Any) -> Any:
    """The configuration with flash attention; with the version's own choice where the class has none."""
    if not model_class._supports_flash_attn_2:  # noqa: SLF001 - as above
        config._attn_implementation = None  # noqa: SLF001 - as above
        return model_class._check_and_enable_sdpa(config, hard_check_only=False)  # noqa: SLF001 - as above
    return config


def _choose_classes() -> bool:
    from transformers import PreTrainedModel

    return hasattr(PreTrainedModel, _CHECK)
