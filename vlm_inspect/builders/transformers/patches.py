"""Context managers that patch or silence libraries while they are imported and while models are built."""

from __future__ import annotations

import gc
import logging
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any

# older versions of transformers check here whether flash-attn and a GPU are present
_FLASH_CHECK = "_check_and_enable_flash_attn_2"
_ABSENT = object()


@contextmanager
def silenced() -> Iterator[None]:
    """Silence warnings and transformers' logger."""
    logger = logging.getLogger("transformers")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


@contextmanager
def no_log_warnings() -> Iterator[None]:
    """Drop log records up to warnings; unlike `silenced`, this works while transformers is imported."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def gc_disabled() -> Iterator[None]:
    """Switch off garbage collection, which takes much of the time of imports and builds."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def no_config_repr(base: type) -> AbstractContextManager[None]:
    """Do not let configurations format themselves for log messages: it is slow, and some fail at it."""
    return patched(base, "__repr__", object.__repr__)


def linspace_on_cpu() -> AbstractContextManager[None]:
    """Compute `linspace`, of which Swin towers take drop path rates, on the CPU: on meta it has no values."""
    import torch

    return patched(torch, "linspace", partial(torch.linspace, device="cpu"))


@contextmanager
def no_init() -> Iterator[None]:
    """Skip weight initialisation, which takes most of the time of a build on the meta device."""
    from torch.nn import init
    from transformers import PreTrainedModel

    # not with transformers' own `no_init_weights`: in version 4 it skips tying, too
    names: list[tuple[Any, str]] = [
        (init, name) for name in vars(init) if name.endswith("_") and not name.startswith("_")
    ]
    if hasattr(PreTrainedModel, "_initialize_weights"):
        names.append((PreTrainedModel, "_initialize_weights"))
    with ExitStack() as patches:
        for owner, name in names:
            patches.enter_context(patched(owner, name, lambda tensor, *_, **__: tensor))
        yield


def flash_attention_allowed() -> AbstractContextManager[None]:
    """Let models use flash attention if they support it, without flash-attn and a GPU."""
    from transformers import PreTrainedModel

    if not attention_selects_classes():
        return nullcontext()

    def enable(model_class: Any, config: Any, *_: Any, **__: Any) -> Any:
        if not model_class._supports_flash_attn_2:  # noqa: SLF001 - transformers has no public name for it
            config._attn_implementation = None  # noqa: SLF001 - as above
            return model_class._check_and_enable_sdpa(config, hard_check_only=False)  # noqa: SLF001 - as above
        return config

    return patched(PreTrainedModel, _FLASH_CHECK, classmethod(enable))


def attention_selects_classes() -> bool:
    """Whether the attention implementation may choose the class of a layer; it does before 4.48."""
    from transformers import PreTrainedModel

    return hasattr(PreTrainedModel, _FLASH_CHECK)


@contextmanager
def patched(owner: Any, name: str, replacement: Any) -> Iterator[None]:
    """Replace an attribute of a module or class inside the block."""
    own = vars(owner).get(name, _ABSENT)
    setattr(owner, name, replacement)
    try:
        yield
    finally:
        if own is _ABSENT:
            delattr(owner, name)
        else:
            setattr(owner, name, own)
