"""The report of `check` in a terminal with colours; the signs mean the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from vlm_inspect.core.snapshot import CheckResult
from vlm_inspect.render.cells import Layout
from vlm_inspect.render.check import Line, Sign, plain_lines, report_lines, summary
from vlm_inspect.render.terminal.console import render_text

_STYLES: dict[Sign, str] = {"+": "green", "-": "red", "~": "yellow", ">": "cyan", "!": "bold red"}


def coloured_report(results: Sequence[CheckResult], width: int) -> str:
    """The report, each line in the colour of its sign."""
    lines = [*_coloured_lines(report_lines(results), width), Text(summary(results), style="bold")]
    return render_text(lines, Layout(width, colour=True))


def _coloured_lines(lines: Sequence[Line], width: int) -> Iterator[Text]:
    for line in lines:
        for wrapped in plain_lines([line], width):
            yield Text(wrapped, style=_STYLES.get(line.sign, ""))
