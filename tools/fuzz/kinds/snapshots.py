"""Hostile snapshot files."""

from __future__ import annotations

import json
import random
from functools import cache

from tools.fuzz.case import Case, Command
from tools.fuzz.mutation import mutated
from tools.fuzz.outputs import FORMS
from tools.fuzz.seeds import snapshot_texts
from tools.fuzz.values import Fed, edited, written


def of_file(rng: random.Random) -> Case:
    """A strange snapshot file, alone or beside a true one."""
    text = mutated(rng, snapshot_texts()) if rng.random() < 0.5 else written(_edited().example(rng))  # noqa: PLR2004
    files = {"kept/strange.json": text, "true.json": rng.choice(snapshot_texts())}
    return Case(files, (_command(rng),))


@cache
def _edited() -> Fed:
    return Fed(edited([json.loads(text) for text in snapshot_texts()]))


def _command(rng: random.Random) -> Command:
    form = ("--format", rng.choice(FORMS))
    strange = "kept/strange.json"
    report = rng.choice(("terminal", "markdown", "json", "github"))
    return rng.choice(
        (
            ("show", strange, "--explain", *form),
            ("show", strange, *form),
            ("tree", strange, *form),
            ("tree", strange, "--depth", "2", *form),
            ("table", strange, "true.json", *form),
            ("table", strange, "--kind", "comparison", *form),
            ("diff", strange, "true.json", *form),
            ("diff", "true.json", strange, *form),
            ("diff", strange, strange, "--names-only"),
            ("verify", strange),
            ("check", "--folder", "kept", "--offline", "--format", report),
        )
    )
