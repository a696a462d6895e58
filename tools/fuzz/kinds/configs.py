"""Hostile configurations: what a model's config.json may say."""

from __future__ import annotations

import random
from functools import cache

from tools.fuzz.case import Case, Command
from tools.fuzz.mutation import mutated
from tools.fuzz.outputs import FORMS
from tools.fuzz.seeds import TINY, config_texts, configs, snapshot_texts
from tools.fuzz.values import Fed, edited, written

_BUILT = 0.15
"""The part of configurations that are built, which takes a hundred times as long as to read them."""
MODEL = "model/config.json"


def of_bytes(rng: random.Random) -> Case:
    """A configuration whose bytes were changed."""
    return _asked(rng, mutated(rng, config_texts()))


def of_values(rng: random.Random) -> Case:
    """A configuration with other values."""
    return _asked(rng, written(_edited_configs().example(rng)))


@cache
def _edited_configs() -> Fed:
    return Fed(edited((TINY, TINY, *configs())))


def _asked(rng: random.Random, text: bytes) -> Case:
    files = {MODEL: text}
    if rng.random() > _BUILT:
        return Case(files, (_told(rng),))
    return Case({**files, "other.json": rng.choice(snapshot_texts())}, (_built(rng),), writes=("kept",))


def _told(rng: random.Random) -> Command:
    command = rng.choice(("show", "table"))
    return (command, "./model", "--builder", "config", "--format", rng.choice(FORMS))


def _built(rng: random.Random) -> Command:
    form = ("--format", rng.choice(FORMS))
    return rng.choice(
        (
            ("show", "./model", "--explain", *form),
            ("show", "./model", *form),
            ("tree", "./model", *form),
            ("table", "./model", "--kind", "comparison", *form),
            ("table", "./model", *form),
            ("diff", "./model", "other.json", *form),
            ("diff", "other.json", "./model", "--names-only"),
            ("snapshot", "./model", "--folder", "kept"),
            ("verify", "./model", *form),
        )
    )
