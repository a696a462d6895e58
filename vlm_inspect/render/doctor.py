"""The findings of `doctor`: text for a terminal, a table for Markdown, data for JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vlm_inspect.core.health import Finding, State
from vlm_inspect.render.cells import Table, text, visible

_MARKS: Mapping[State, str] = {"ok": "ok", "note": "note", "wrong": "WRONG"}


def diagnosis_text(findings: Sequence[Finding]) -> str:
    """A line per finding with its state, and a line with the hint below it."""
    marks = max(len(mark) for mark in _MARKS.values())
    subjects = max((len(finding.subject) for finding in findings), default=0)
    lines = []
    for finding in findings:
        start = f"{_MARKS[finding.state]:<{marks}}  {finding.subject:<{subjects}}  "
        lines.append(start + visible(finding.said))
        if finding.hint:
            lines.append(" " * len(start) + visible(finding.hint))
    return "\n".join([*lines, "", _summary(findings)])


def diagnosis_table(findings: Sequence[Finding]) -> Table:
    """A row per finding."""
    return Table(
        headers=("State", "What", "Found", "To do"),
        rows=tuple(
            (text(_MARKS[each.state]), text(each.subject), text(each.said), text(each.hint))
            for each in findings
        ),
        title="vlm-inspect doctor",
        notes=(_summary(findings),),
    )


def diagnosis_data(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """The findings as JSON data."""
    return [
        {"subject": each.subject, "state": each.state, "said": each.said, "hint": each.hint or None}
        for each in findings
    ]


def _summary(findings: Sequence[Finding]) -> str:
    wrong = [finding.subject for finding in findings if finding.state == "wrong"]
    return f"Wrong: {', '.join(wrong)}." if wrong else "Nothing is wrong."
