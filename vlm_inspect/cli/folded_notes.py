"""Notes about several models, each sentence printed once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_MODEL = "\0"
# every model has a commit of its own, which a sentence about all of them leaves out
_COMMIT = re.compile(r", commit [0-9a-f]{7,40}")


class Note(NamedTuple):
    """A sentence about a model."""

    model: str
    text: str


def dedupe_notes(notes: Sequence[Note]) -> Iterator[str]:
    """Each sentence once, in the order of its first note, with the number of its models."""
    groups: dict[str, list[Note]] = {}
    for note in notes:
        groups.setdefault(_COMMIT.sub("", note.text.replace(note.model, _MODEL)), []).append(note)
    for sentence, group in groups.items():
        models = list(dict.fromkeys(note.model for note in group))
        yield group[0].text if len(models) == 1 else _of_several(sentence, models)


def _of_several(sentence: str, models: Sequence[str]) -> str:
    counted = f"{len(models)} models"
    return sentence.replace(f"{_MODEL} is ", f"{counted} are ").replace(_MODEL, ", ".join(models))
