"""Hostile answers of the process in which a repo's own code ran."""

from __future__ import annotations

import json
import random
from functools import cache

from tools.fuzz.case import Case, Command
from tools.fuzz.mutation import mutated
from tools.fuzz.outputs import FORMS
from tools.fuzz.seeds import UNKNOWN, said_by_a_child, snapshot_texts
from tools.fuzz.values import Fed, edited, written

ANSWER = "answer.json"
"""What the child says; the worker reads it as the parent does."""
_CONFIG = {**UNKNOWN, "auto_map": {"AutoModelForCausalLM": "modeling_strange.NoModel"}}
_TRUSTED = ("./model", "--builder", "remote-code", "--trust-remote-code")


def of_answer(rng: random.Random) -> Case:
    """What such a child could write on its pipe."""
    by_bytes = rng.random() < 0.4  # noqa: PLR2004
    text = mutated(rng, (written(said_by_a_child()),)) if by_bytes else written(_edited().example(rng))
    files = {
        ANSWER: text,
        "model/config.json": json.dumps(_CONFIG).encode(),
        "model/modeling_strange.py": b"class NoModel: pass\n",
        "true.json": snapshot_texts()[0],
    }
    return Case(files, (_command(rng),), writes=("kept",))


def _command(rng: random.Random) -> Command:
    form = ("--format", rng.choice(FORMS))
    return rng.choice(
        (
            ("show", *_TRUSTED, "--explain", *form),
            ("tree", *_TRUSTED, *form),
            ("table", *_TRUSTED, *form),
            ("table", *_TRUSTED, "--kind", "comparison", *form),
            ("diff", "true.json", *_TRUSTED, *form),
            ("snapshot", *_TRUSTED, "--folder", "kept"),
        )
    )


@cache
def _edited() -> Fed:
    return Fed(edited((said_by_a_child(), said_by_a_child(), {"error": "no", "kind": "package"})))
