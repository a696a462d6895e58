"""Hostile names of models, on the command line and in configuration files."""

from __future__ import annotations

import json
import random
from pathlib import Path

from tools.fuzz.case import Case, Command
from tools.fuzz.outputs import FORMS
from tools.fuzz.seeds import TINY, snapshot_texts
from tools.fuzz.strange import TEXTS

_PARTS = (
    *TEXTS,
    *(
        "org",
        "name",
        "org/name",
        "llava-hf",
        "llava-1.5-7b-hf",
        "main",
        "0" * 40,
        "refs/pr/1",
        ".",
        "...",
        "/",
        "//",
    ),
    *(
        "\\",
        "./",
        "../",
        "~/",
        "@",
        "--",
        "-",
        ".git",
        ".json",
        "config.json",
        "model",
        "./model",
        "\ud800",
        "\udcff",
    ),
    *(
        "\u0561rg",
        "\uff0e\uff0e\uff0f",
        "\u2024\u2024",
        "\u2215",
        "\u29f8",
        "\uff4f\uff52\uff47",
        "ﬁ",
        "İ",
        "ß",
        "COM1",
        "aux.json",
        "a:b",
        "a*",
    ),
    *(
        "file:///etc/passwd",
        "https://evil.example/x",
        "hf://org/name",
        "$HOME",
        "${HOME}",
        "`id`",
        "$(id)",
        "%00",
        "%2e%2e",
    ),
)
_LONG = 0.01


def of_model(rng: random.Random) -> Case:
    """A strange name, where a command or the configuration expects a model's."""
    name = _name(rng)
    files = {"model/config.json": json.dumps(TINY).encode(), "true.json": snapshot_texts()[0]}
    if rng.random() < 0.3:  # noqa: PLR2004 - in the configuration
        files["vlm-inspect.toml"] = _settings(name)
        command = rng.choice(
            (("table", "--offline"), ("snapshot", "--folder", "kept", "--offline"), ("check", "--offline"))
        )
    else:
        command = _command(rng, name)
    return Case(
        files, (command,), writes=("kept",), anywhere=True, follows=lambda folder, _: _outside(folder)
    )


def _name(rng: random.Random) -> str:
    if rng.random() < _LONG:
        return rng.choice(("x", "x/", "../", "a@", "\u0430", "é", "./x")) * rng.choice((300, 5_000, 100_000))
    name = rng.choice(("", "", "/", "@")).join(rng.choice(_PARTS) for _ in range(rng.randint(1, 4)))
    if rng.random() < 0.3:  # noqa: PLR2004
        at = rng.randint(0, len(name))
        name = (
            name[:at]
            + chr(rng.choice((rng.randrange(0x20), rng.randrange(0x80, 0x3000), rng.randrange(0x10FFFF))))
            + name[at:]
        )
    return name


def _command(rng: random.Random, name: str) -> Command:
    form = ("--format", rng.choice(FORMS))
    words: tuple[Command, ...] = (
        ("table", "--offline", *form, "--", name, "true.json"),
        ("show", "--offline", *form, "--", name),
        ("show", "--offline", name),
        ("tree", "--offline", *form, "--", name),
        ("tree", "--offline", "--focus", name, "true.json"),
        ("diff", "--offline", *form, "--", name, "true.json"),
        ("diff", "--offline", "true.json", name),
        ("snapshot", "--offline", "--folder", "kept", "--", name),
        ("verify", "--offline", *form, "--", name),
        ("verify", "--offline", "--base", name, "./model"),
        ("show", "--offline", "--revision", name, "org/name"),
        ("table", "--offline", "--columns", name, "true.json"),
    )
    return rng.choice(words)


def _settings(name: str) -> bytes:
    quoted = "".join(char if char.isalnum() and char.isascii() else f"\\U{ord(char):08x}" for char in name)
    return f'[[models]]\nid = "{quoted}"\n'.encode()


def _outside(folder: Path) -> list[str]:
    """Snapshot files lie in their folder, under names that every system takes."""
    kept = folder / "kept"
    found = sorted(kept.rglob("*")) if kept.is_dir() else []
    return [
        f"{path.name!r} in the folder of snapshots"
        for path in found
        if path.parent != kept or path.suffix != ".json" or not path.name.isascii()
    ]
