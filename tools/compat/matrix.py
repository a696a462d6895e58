"""Write docs/support-matrix.md and its data: `python -m tools.compat.matrix [ANSWERS…]`.

ANSWERS are files that tools.compat.survey writes; versions without one keep their recorded answers.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from vlm_inspect.render.text.values import exact_count, short_count

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
COMPAT = ROOT / "tests" / "compat"
DATA = COMPAT / "support-matrix.json"
PAGE = ROOT / "docs" / "support-matrix.md"

Answer = Mapping[str, Any]
Data = Mapping[str, Mapping[str, Any]]
"""The answers of each version of transformers."""

_LETTERS = {
    "vision_encoder": "V",
    "audio_encoder": "A",
    "projector": "P",
    "language_model": "L",
    "lm_head": "H",
    "generator": "G",
    "other": "O",
}
_NO_REASON = "no reason is given in tests/compat/reasons.toml"
_MISSING, _FAILED, _PARTIAL = "·", "✗", "◐"

_INTRODUCTION = """\
# Support matrix

Every multimodal model type of transformers, and the models of the built-in catalogue, under several versions of
transformers. `make compat` builds an environment for each version, inspects every type and writes this page.

"""
_LEGEND = """\
## Types

Types are built from the defaults of their configuration class or, where these do not build, from a
configuration with the values of a published model. *Components* are those under the newest version:

**V** vision encoder · **A** audio encoder · **P** projector · **L** language model · **H** LM head ·
**h** LM head tied to the embedding · **G** generator of images or speech ·
**O** [other](#components-in-other)

A number before a letter is a count. The columns of the versions show the parameters:

| cell | meaning |
| --- | --- |
| 7.06B | supported, same result as under the newest version that has the type |
| *7.06B* | supported, the number of parameters differs from the newest |
| 7.06B (V L H) | supported, the components differ from the newest |
| ◐ | supported, except for [a component](#missing-packages) whose package is not installed |
| ✗ | [not supported](#not-supported) |
| · | this version does not have the type |

"""
_OTHER = """
## Components in other

Under transformers {version}. Parameters without one of the roles above are listed by path.

"""
_MISSING_PACKAGES = """
## Missing packages

The environments do not have the packages that provide some towers. With the package installed, the type is
supported in full.

"""
_NOT_SUPPORTED = """
## Not supported

"""


def main() -> None:
    """Merge new answers into the data, and write data and page."""
    data = load(DATA)
    for path in map(Path, sys.argv[1:]):
        answers = json.loads(path.read_text(encoding="utf-8"))
        data[answers["packages"]["transformers"]] = answers
    listed = {each["transformers"] for each in versions()["environment"]}
    data = {version: answers for version, answers in data.items() if version in listed}
    DATA.write_text(dump(data), encoding="utf-8")
    PAGE.write_text(render(data), encoding="utf-8")


def versions() -> dict[str, Any]:
    """The environments of versions.toml."""
    return _toml("versions")


def reasons() -> dict[str, dict[str, str]]:
    """The explanations of reasons.toml."""
    return _toml("reasons")


def _toml(name: str) -> dict[str, Any]:
    return tomllib.loads((COMPAT / f"{name}.toml").read_text(encoding="utf-8"))


def load(path: Path) -> dict[str, dict[str, Any]]:
    """Read a data file."""
    return dict(json.loads(path.read_text(encoding="utf-8")))


def dump(data: Data) -> str:
    """Serialize the data as JSON with one line per answer, oldest version first."""
    return "{\n" + ",\n".join(f"{json.dumps(name)}: {_version(data[name])}" for name in _ordered(data)) + "\n}\n"


def render(data: Data) -> str:
    """Render the page."""
    data = {version: data[version] for version in _ordered(data)}
    parts = (
        _INTRODUCTION,
        _versions(data),
        "\n## Catalogue models\n\n",
        _table(("Model", "Components", *data), _rows(data, "models")),
        "\n",
        _LEGEND,
        _table(("Type", "Components", *data), _rows(data, "types")),
        _in_other(data),
        _missing_packages(data),
        _not_supported(data),
    )
    return "".join(parts)


def newest(data: Data) -> str:
    """Return the newest version."""
    return _ordered(data)[-1]


def _ordered(data: Iterable[str]) -> list[str]:
    return sorted(data, key=lambda version: tuple(map(int, version.split("."))))


def _version(answers: Mapping[str, Any]) -> str:
    lines = [f'"packages": {json.dumps(answers["packages"])}']
    for kind in ("models", "types"):
        each = ",\n".join(f"  {json.dumps(name)}: {json.dumps(answer)}" for name, answer in answers[kind].items())
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
    titles = ("types", "supported", f"partly {_PARTIAL}", f"not supported {_FAILED}")
    return _table(("transformers", *packages, *titles), rows)


def _count(answers: Iterable[Answer], field: str) -> int:
    return sum(field in answer for answer in answers)


def _rows(data: Data, kind: str) -> Iterator[tuple[str, ...]]:
    for name in sorted({name for answers in data.values() for name in answers[kind]}, key=str.lower):
        found = {version: answers[kind].get(name) for version, answers in data.items()}
        best = next((each for each in reversed(found.values()) if each and "roles" in each), None)
        parts = _parts(best) if best else "—"
        yield (f"`{name}`", parts, *(cell(each, best) for each in found.values()))


def cell(answer: Answer | None, best: Answer | None) -> str:
    """Render one version's answer, marking differences from the newest."""
    if answer is None:
        return _MISSING
    if "roles" not in answer or best is None:
        return _FAILED
    if "parameters" not in answer:
        return _PARTIAL if _parts(answer) == _parts(best) else f"{_PARTIAL} {_parts(answer)}"
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


def _in_other(data: Data) -> str:
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


def _missing_packages(data: Data) -> str:
    found: dict[tuple[str, str, str], list[str]] = {}
    for version, answers in data.items():
        for name, answer in answers["types"].items():
            for path, why in answer.get("unbuilt", {}).items():
                found.setdefault((name, path, why), []).append(version)
    rows = [(f"`{name}`", f"`{path}`", why, ", ".join(at)) for (name, path, why), at in sorted(found.items())]
    return _MISSING_PACKAGES + _table(("Type", "Path", "Why", "Under"), rows)


def _not_supported(data: Data) -> str:
    found: dict[tuple[str, str], list[str]] = {}
    why = reasons()["unsupported"]
    for version, answers in data.items():
        for name, answer in (*answers["models"].items(), *answers["types"].items()):
            if "why_not" in answer:
                found.setdefault((name, why.get(name, _NO_REASON)), []).append(version)
    rows = [(f"`{name}`", reason, ", ".join(at)) for (name, reason), at in sorted(found.items())]
    return _NOT_SUPPORTED + _table(("Model or type", "Why", "Under"), rows)


def _table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    titles = tuple(titles)
    lines = (titles, ("---",) * len(titles), *rows)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


if __name__ == "__main__":
    main()
