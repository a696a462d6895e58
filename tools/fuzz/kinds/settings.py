"""Hostile configuration files: vlm-inspect.toml and pyproject.toml."""

from __future__ import annotations

import random

from tools.fuzz.case import Case, Command
from tools.fuzz.mutation import mutated
from tools.fuzz.outputs import FORMS
from tools.fuzz.seeds import snapshot_texts
from tools.fuzz.strange import TEXTS

_OWN = b"""snapshots = "kept"
files = ["README.md"]

[[models]]
id = "./true.json"
alias = "LLaVA"
[models.facts]
fine_tuning = "Instructions"
flash_attention = true

[[models]]
id = "org/name"
revision = "main"

[tables.architectures]
models = ["LLaVA"]

[tables.comparison]
kind = "comparison"
models = ["LLaVA"]
columns = ["model", "projection"]
"""
_SHARED = b'[project]\nname = "x"\n\n' + _OWN.replace(
    b"snapshots", b"[tool.vlm-inspect]\nsnapshots", 1
).replace(b"[[models]]", b"[[tool.vlm-inspect.models]]").replace(
    b"[models.facts]", b"[tool.vlm-inspect.models.facts]"
).replace(b"[tables.", b"[tool.vlm-inspect.tables.")
_README = b"<!-- vlm-inspect:begin architectures -->\n<!-- vlm-inspect:end -->\n"


SEEDS = (("vlm-inspect.toml", _OWN), ("pyproject.toml", _SHARED))


def of_file(rng: random.Random) -> Case:
    """A strange configuration, under one of its two names."""
    name, seed = rng.choice(SEEDS)
    text = mutated(rng, (seed,), most=3) if rng.random() < 0.6 else _with_strange_texts(rng, seed)  # noqa: PLR2004
    files = {name: text, "true.json": snapshot_texts()[0], "README.md": _README}
    return Case(files, (_command(rng),), writes=("README.md", "kept"), anywhere=True)


def _with_strange_texts(rng: random.Random, seed: bytes) -> bytes:
    """Valid TOML that says strange words, each wherever another stood."""
    parts = seed.decode().split('"')
    for _ in range(rng.randint(1, 3)):
        word, other = rng.choice(parts[1::2]), "".join(map(_escaped, rng.choice(TEXTS)))
        parts[1::2] = [other if each == word else each for each in parts[1::2]]
    return '"'.join(parts).encode("utf-8", "surrogatepass")


def _escaped(char: str) -> str:
    return char if char.isalnum() or char in "./@-_" else f"\\U{ord(char):08x}"


def _command(rng: random.Random) -> Command:
    form = ("--format", rng.choice(FORMS))
    return rng.choice(
        (
            ("table", "--offline", *form),
            ("table", "--offline", "--kind", "comparison", *form),
            ("table", "--write", "README.md", "--offline"),
            ("table", "--check", "README.md", "--offline"),
            ("snapshot", "--folder", "kept", "--offline"),
            ("check", "--folder", "kept", "--offline"),
            ("show", "LLaVA", "--offline", *form),
            ("tree", "LLaVA", "--offline", *form),
        )
    )
