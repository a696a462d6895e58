"""What holds while libraries are imported and models built: what they print, log and collect meanwhile."""

from __future__ import annotations

import gc
import logging
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any


@contextmanager
def quiet() -> Iterator[None]:
    """What the libraries say while they build is about their own business, not about the answer."""
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
def unlogged() -> Iterator[None]:
    """No warnings in the log. transformers sets the level of its own anew when it is imported."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def unprinted(base: type) -> Iterator[None]:
    """A configuration prints itself for its library's log, read or not: that takes time, and may fail.

    Under transformers 4.57 Phi-4-multimodal's does: it has a part that is None.
    """
    with _instead(base, "__repr__", object.__repr__):
        yield


@contextmanager
def rates_in_memory() -> Iterator[None]:
    """Towers of the Swin kind read the rates of their layers off `linspace`, which meta has no values for.

    Transformers 5 makes them on the CPU by itself.
    """
    import torch

    with _instead(torch, "linspace", partial(torch.linspace, device="cpu")):
        yield


@contextmanager
def uncollected() -> Iterator[None]:
    """No search for garbage: imports and builds make objects to keep, and it would take much of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextmanager
def uninitialised() -> Iterator[None]:
    """No initial values: a tensor on meta keeps none, and to draw them takes most of the time of a build.

    transformers' own `no_init_weights` would, under version 4, leave out what it ties meanwhile too.
    """
    from torch.nn import init
    from transformers import PreTrainedModel

    drawn = [name for name in vars(init) if name.endswith("_") and not name.startswith("_")]
    with ExitStack() as replaced:
        for name in drawn:
            replaced.enter_context(_instead(init, name, _as_it_is))
        if hasattr(PreTrainedModel, "_initialize_weights"):  # its own, module by module
            replaced.enter_context(_instead(PreTrainedModel, "_initialize_weights", _as_it_is))
        yield


def _as_it_is(tensor: Any, *_: Any, **__: Any) -> Any:
    return tensor


@contextmanager
def _instead(holder: Any, name: str, replacement: Any) -> Iterator[None]:
    """While this lasts, something else stands under a name."""
    own = getattr(holder, name)
    setattr(holder, name, replacement)
    try:
        yield
    finally:
        setattr(holder, name, own)
