"""The report of `check`: text, Markdown, JSON data, and annotations of a GitHub workflow."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from vlm_inspect.codec import to_data
from vlm_inspect.render.cells import text, visible
from vlm_inspect.render.check_report import Line, report_lines, summary
from vlm_inspect.render.markdown import inline
from vlm_inspect.verdict import CheckResult

_STEP = 2


def report_text(verdicts: Sequence[CheckResult], width: int = 100) -> str:
    """The report for a terminal or a log, without colours."""
    lines = (*report_lines(verdicts), Line("", summary(verdicts)))
    return "".join(f"{line}\n" for line in plain_lines(lines, width))


def plain_lines(lines: Sequence[Line], width: int) -> Iterator[str]:
    """Each line, wrapped with a hanging indent."""
    for line in lines:
        begin = " " * line.indent + (f"{line.sign} " if line.sign else "")
        yield from textwrap.wrap(
            line.text,
            max(width, 2 * _STEP + 20),
            initial_indent=begin,
            subsequent_indent=" " * len(begin),
            break_long_words=True,
            break_on_hyphens=False,
        )


def report_markdown(verdicts: Sequence[CheckResult]) -> str:
    """The report as a pull request comment or a job summary."""
    lines = [f"### vlm-inspect: {summary(verdicts)}", ""]
    for line in report_lines(verdicts):
        sign = f"`{line.sign}` " if line.sign else ""
        lines.append(f"{' ' * line.indent}- {sign}{inline(text(line.text))}")
    return "\n".join(lines) + "\n"


def report_data(verdicts: Sequence[CheckResult]) -> dict[str, Any]:
    """The results as JSON data."""
    return {"summary": summary(verdicts), "models": [to_data(verdict) for verdict in verdicts]}


def report_annotations(verdicts: Sequence[CheckResult], folder: str) -> str:
    """Workflow commands: an error for a difference or a failure, a warning for an orphaned file."""
    levels = {"different": "error", "failed": "error", "missing": "error", "orphaned": "warning"}
    listed = [each for each in verdicts if each.status in levels]
    return (
        "".join(f"{_annotation(levels[each.status], each, folder)}\n" for each in listed)
        + f"{summary(verdicts)}\n"
    )


def _annotation(level: str, verdict: CheckResult, folder: str) -> str:
    message = "\n".join(plain_lines(report_lines([verdict]), 1000))
    file = _property(f"{folder}/{verdict.file}")
    return f"::{level} file={file},title={_property(f'vlm-inspect: {verdict.model}')}::{_escaped(message)}"


def _escaped(value: str) -> str:
    """Escape a message as GitHub's toolkit does; line breaks become %0A."""
    lines = "\n".join(visible(line) for line in value.split("\n"))
    return lines.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: str) -> str:
    return _escaped(value).replace(":", "%3A").replace(",", "%2C")
