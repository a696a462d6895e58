"""What came of each Python as data and as a page: docs/pythons.json and docs/pythons.md."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tools.support.environments import versions
from tools.support.venvs import ROOT

DATA = ROOT / "docs" / "pythons.json"
PAGE = ROOT / "docs" / "pythons.md"

Outcome = Mapping[str, Any] | None
"""None for a Python that was not there."""

_INTRODUCTION = """\
# Pythons

What vlm-inspect does under each Python. Everything on this page is measured: `make pythons` makes an
environment for each, installs the wheel, and compares what the program says with what it says under Python
{measure}, to the byte and under the same transformers: the help of every command; table, cards and trees of
the catalogue's models, and their snapshots; a snapshot of every multimodal type. Then the tests run against
the installed wheel. One that fails is run under {measure} with the same transformers, too.

"""
_TITLES = ("Python", "transformers", "torch", "huggingface_hub", "numpy", "answers", "tests")


def load() -> dict[str, Outcome]:
    """The data."""
    return dict(json.loads(DATA.read_text(encoding="utf-8"))) if DATA.exists() else {}


def write(outcomes: Mapping[str, Outcome]) -> None:
    """Data and page: what was asked anew, beside what was not."""
    data = {**load(), **outcomes}
    data = {version: data[version] for version in versions()["pythons"] if version in data}
    DATA.write_text(dump(data), encoding="utf-8")
    PAGE.write_text(render(data), encoding="utf-8")


def dump(data: Mapping[str, Outcome]) -> str:
    """The data as JSON, a line for each Python."""
    lines = (f"{json.dumps(version)}: {json.dumps(outcome)}" for version, outcome in data.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def is_well(outcome: Outcome) -> bool:
    """Whether it answers as the others, and passes the tests; a Python that was not there says nothing."""
    return outcome is None or not (outcome["different"] or outcome["failed"])


def summary(outcome: Outcome) -> str:
    """In a line."""
    if outcome is None:
        return "not here"
    answers, tests = _answers(outcome), _tests(outcome)
    return f"answers: {answers}; tests: {tests}"


def render(data: Mapping[str, Outcome]) -> str:
    """The page that the data says, to the byte."""
    rows = [_row(version, outcome) for version, outcome in data.items()]
    lines = (_TITLES, ("---",) * len(_TITLES), *rows)
    table = "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
    return _INTRODUCTION.format(measure=versions()["measure"]) + table + _run(data) + _differences(data)


def _row(version: str, outcome: Outcome) -> tuple[str, ...]:
    if outcome is None:
        return (version, *("—",) * 4, "not measured: this Python was not there", "—")
    packages = outcome["packages"]
    shown = (packages[name] for name in _TITLES[1:5])
    return (outcome["python"], *shown, _answers(outcome), _tests(outcome))


def _answers(outcome: Mapping[str, Any]) -> str:
    different = len(outcome["different"])
    return (
        f"{different} of {outcome['answers']} differ" if different else f"all {outcome['answers']} the same"
    )


def _tests(outcome: Mapping[str, Any]) -> str:
    said = f"{outcome['passed']:,} pass"
    if outcome["alike"]:
        measure = versions()["measure"]
        said += f", {outcome['alike']} fail as under {measure}: this transformers lacks what they ask for"
    return f"{said}, {len(outcome['failed'])} fail" if outcome["failed"] else said


def _run(data: Mapping[str, Outcome]) -> str:
    """Which tests were run where."""
    named: dict[str, list[str]] = {}
    for version, outcome in data.items():
        if outcome is not None:
            named.setdefault(", ".join(f"`{path}`" for path in outcome["run"]), []).append(version)
    return "\n" + "".join(f"* Tests under {', '.join(at)}: {paths}\n" for paths, at in named.items())


def _differences(data: Mapping[str, Outcome]) -> str:
    lines = [
        f"* Python {version}: `{name}` {what}\n"
        for version, outcome in data.items()
        if outcome is not None
        for kind, what in (("different", "differs"), ("failed", "fails"))
        for name in outcome[kind]
    ]
    return "\n## What differs\n\n" + "".join(lines) if lines else ""
