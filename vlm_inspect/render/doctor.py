"""The results of `doctor`: text for a terminal, a table for Markdown, data for JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vlm_inspect.core.packages import HealthCheck, State
from vlm_inspect.render.cells import Table, escape_control_chars, text, wrap_hanging

_MARKS: Mapping[State, str] = {"ok": "ok", "note": "note", "wrong": "WRONG"}
# in a narrower terminal the text goes below its title
_NARROWEST_TEXT = 24


def doctor_text(findings: Sequence[HealthCheck], width: int = 100) -> str:
    """A line for each check, and its hint below it."""
    marks = max(map(len, _MARKS.values()))
    subjects = max((len(finding.subject) for finding in findings), default=0)
    lines: list[str] = []
    for finding in findings:
        start = f"{_MARKS[finding.state]:<{marks}}  {finding.subject:<{subjects}}  "
        lines += _wrapped(finding.message, width, start)
        if finding.hint:
            lines += _wrapped(finding.hint, width, " " * len(start))
    return "\n".join([*lines, "", _summary(findings)])


def _wrapped(value: str, width: int, start: str) -> list[str]:
    width = max(width, len(start) + _NARROWEST_TEXT)
    # a path or command is not broken, so that it can be copied
    return wrap_hanging(escape_control_chars(value), width, start, break_long_words=False)


def doctor_table(findings: Sequence[HealthCheck]) -> Table:
    """A row for each check."""
    rows = ((_MARKS[each.state], each.subject, each.message, each.hint) for each in findings)
    headers = ("State", "Check", "Result", "What to do")
    return Table(headers, tuple(tuple(map(text, row)) for row in rows), "vlm-inspect doctor", (_summary(findings),))


def doctor_data(findings: Sequence[HealthCheck]) -> list[dict[str, Any]]:
    """The results as JSON data."""
    return [
        {"subject": each.subject, "state": each.state, "message": each.message, "hint": each.hint or None}
        for each in findings
    ]


def _summary(findings: Sequence[HealthCheck]) -> str:
    wrong = [finding.subject for finding in findings if finding.state == "wrong"]
    return f"Wrong: {', '.join(wrong)}." if wrong else "Nothing is wrong."
