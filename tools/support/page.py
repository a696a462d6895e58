"""The support matrix as data and as a page: docs/support-matrix.json and docs/support-matrix.md."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tools.support.environments import tomllib
from vlm_inspect.render.figures import exact_count, short_count

REASONS = Path(__file__).with_name("reasons.toml")
"""Why something is in `other`, and why a type is not answered: what nothing but a sentence can say."""

Answer = Mapping[str, Any]
Data = Mapping[str, Mapping[str, Any]]
"""By version of transformers what its environment answered."""

_LETTERS = {
    "vision_encoder": "V",
    "audio_encoder": "A",
    "projector": "P",
    "language_model": "L",
    "lm_head": "H",
    "generator": "G",
    "other": "O",
}
_NO_REASON = "no reason is written in tools/support/reasons.toml"
_NOT_THERE, _UNANSWERED, _IN_PART = "·", "✗", "◐"

_INTRODUCTION = """\
# Support matrix

What vlm-inspect answers under each transformers: every multimodal type that it has, and the models of the
built-in catalogue. Everything on this page is measured. `make compat` builds an environment for each version,
asks it for every type, and writes the page from the answers, which
[support-matrix.json](support-matrix.json) keeps to the last parameter.

"""
_LEGEND = """\
## Types

A type is answered from the defaults of its configuration class, or, where these do not build, from a
configuration that states what a published model states. *Parts* are those under the newest version:

**V** vision encoder · **A** audio encoder · **P** projector · **L** language model · **H** LM head ·
**h** LM head that is the embedding's weight · **G** generator of images or speech ·
**O** [other](#what-is-in-other)

A number before a letter says how many there are. In a version's column stand the model's parameters:

| cell | says |
| --- | --- |
| 7.06B | answered, as under the newest version that has the type |
| *7.06B* | answered, with other parameters than under the newest |
| 7.06B (V L H) | answered, with other parts than under the newest |
| ◐ | answered, [but for a part](#what-was-not-built) whose package is not installed |
| ✗ | [not answered](#what-is-not-answered) |
| · | this version does not have the type |

"""
_OTHER = """
## What is in other

Under transformers {version}. No parameter is left out: what has none of the roles above is told by its path.

"""
_NOT_BUILT = """
## What was not built

These environments have none of the packages that some towers are made of. All else is exact, and with the
package installed the type is answered in full.

"""
_NOT_ANSWERED = """
## What is not answered

"""


def load(path: Path) -> dict[str, dict[str, Any]]:
    """The data in a file."""
    return dict(json.loads(path.read_text(encoding="utf-8")))


def dump(data: Data) -> str:
    """The data as JSON, a line for each answer, versions oldest first."""
    return (
        "{\n" + ",\n".join(f"{json.dumps(name)}: {_version(data[name])}" for name in _ordered(data)) + "\n}\n"
    )


def render(data: Data) -> str:
    """The page that the data says, to the byte."""
    data = {version: data[version] for version in _ordered(data)}
    parts = (
        _INTRODUCTION,
        _versions(data),
        "\n## The catalogue's models\n\n",
        _table(("Model", "Parts", *data), _rows(data, "models")),
        "\n",
        _LEGEND,
        _table(("Type", "Parts", *data), _rows(data, "types")),
        _what_is_in_other(data),
        _what_was_not_built(data),
        _what_is_not_answered(data),
    )
    return "".join(parts)


def reasons() -> dict[str, dict[str, str]]:
    """The sentences of reasons.toml."""
    return tomllib.loads(REASONS.read_text(encoding="utf-8"))


def newest(data: Data) -> str:
    """The newest version."""
    return _ordered(data)[-1]


def _ordered(data: Iterable[str]) -> list[str]:
    return sorted(data, key=lambda version: tuple(map(int, version.split("."))))


def _version(answers: Mapping[str, Any]) -> str:
    lines = [f'"packages": {json.dumps(answers["packages"])}']
    for kind in ("models", "types"):
        each = ",\n".join(f"  {json.dumps(name)}: {json.dumps(told)}" for name, told in answers[kind].items())
        lines.append(f'"{kind}": {{\n{each}\n }}')
    return "{\n " + ",\n ".join(lines) + "\n}"


def _versions(data: Data) -> str:
    packages = ("huggingface_hub", "tokenizers", "accelerate", "numpy", "torch")
    rows = []
    for version, answers in data.items():
        types = answers["types"].values()
        partly, none = _count(types, "unbuilt"), _count(types, "why_not")
        figures = (len(types), len(types) - partly - none, partly, none)
        versions = (answers["packages"][name] for name in packages)
        rows.append((version, *versions, *(str(each or "—") for each in figures)))
    titles = ("types", "answered", f"in part {_IN_PART}", f"not answered {_UNANSWERED}")
    return _table(("transformers", *packages, *titles), rows)


def _count(answers: Iterable[Answer], field: str) -> int:
    return sum(field in answer for answer in answers)


def _rows(data: Data, kind: str) -> Iterator[tuple[str, ...]]:
    for name in sorted({name for answers in data.values() for name in answers[kind]}, key=str.lower):
        told = {version: answers[kind].get(name) for version, answers in data.items()}
        best = next((each for each in reversed(told.values()) if each and "roles" in each), None)
        parts = _parts(best) if best else "—"
        yield (f"`{name}`", parts, *(cell(each, best) for each in told.values()))


def cell(answer: Answer | None, best: Answer | None) -> str:
    """One version's answer, told by what it has in common with the newest."""
    if answer is None:
        return _NOT_THERE
    if "roles" not in answer or best is None:
        return _UNANSWERED
    if "parameters" not in answer:
        return _IN_PART if _parts(answer) == _parts(best) else f"{_IN_PART} {_parts(answer)}"
    size = short_count(answer["parameters"])
    size = size if answer["parameters"] == best.get("parameters") or "parameters" not in best else f"*{size}*"
    return size if _parts(answer) == _parts(best) else f"{size} ({_parts(answer)})"


def _parts(answer: Answer) -> str:
    """`V 2P L h`."""
    return " ".join(
        f"{count if count > 1 else ''}{letter.lower() if role == 'lm_head' and size == 0 else letter}"
        for role, letter in _LETTERS.items()
        for count, size in [answer["roles"].get(role, (0, 0))]
        if count
    )


def _what_is_in_other(data: Data) -> str:
    types, why = data[newest(data)]["types"], reasons()["other"]
    rows = [
        (
            f"`{name}`",
            f"`{path}`",
            exact_count(size) if size is not None else "unknown",
            why.get(name, _NO_REASON),
        )
        for name, answer in sorted(types.items())
        for path, size in answer.get("other", {}).items()
    ]
    titles = ("Type", "Path", "Parameters", "Why it has no role")
    return _OTHER.format(version=newest(data)) + _table(titles, rows)


def _what_was_not_built(data: Data) -> str:
    found: dict[tuple[str, str, str], list[str]] = {}
    for version, answers in data.items():
        for name, answer in answers["types"].items():
            for path, why in answer.get("unbuilt", {}).items():
                found.setdefault((name, path, why), []).append(version)
    rows = [(f"`{name}`", f"`{path}`", why, ", ".join(at)) for (name, path, why), at in sorted(found.items())]
    return _NOT_BUILT + _table(("Type", "Path", "Why", "Under"), rows)


def _what_is_not_answered(data: Data) -> str:
    found: dict[tuple[str, str], list[str]] = {}
    why = reasons()["unanswered"]
    for version, answers in data.items():
        for name, answer in (*answers["models"].items(), *answers["types"].items()):
            if "why_not" in answer:
                found.setdefault((name, why.get(name, _NO_REASON)), []).append(version)
    rows = [(f"`{name}`", reason, ", ".join(at)) for (name, reason), at in sorted(found.items())]
    return _NOT_ANSWERED + _table(("Model or type", "Why", "Under"), rows)


def _table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    titles = tuple(titles)
    lines = (titles, ("---",) * len(titles), *rows)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
