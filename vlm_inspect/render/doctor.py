"""The results of `doctor`: text for a terminal, a table for Markdown, data for JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vlm_inspect.core.packages import HealthCheck, State
from vlm_inspect.render.cells import Table, escape_control_chars, text

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


def _wrapped(value: str, width: int, start: str) -> Iterator[str]:
    """Lines with a hanging indent; a path or command is not broken, so that it can be copied."""
    yield from textwrap.wrap(
        escape_control_chars(value),
        max(width, len(start) + _NARROWEST_TEXT),
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_long_words=False,
        break_on_hyphens=False,
    )


def doctor_table(findings: Sequence[HealthCheck]) -> Table:
    """A row for each check."""
    return Table(
        headers=("State", "Check", "Result", "What to do"),
        rows=tuple(
            (text(_MARKS[each.state]), text(each.subject), text(each.message), text(each.hint))
            for each in findings
        ),
        title="vlm-inspect doctor",
        notes=(_summary(findings),),
    )


def doctor_data(findings: Sequence[HealthCheck]) -> list[dict[str, Any]]:
    """The results as JSON data."""
    return [
        {"subject": each.subject, "state": each.state, "message": each.message, "hint": each.hint or None}
        for each in findings
    ]


def _summary(findings: Sequence[HealthCheck]) -> str:
    wrong = [finding.subject for finding in findings if finding.state == "wrong"]
    return f"Wrong: {', '.join(wrong)}." if wrong else "Nothing is wrong."
