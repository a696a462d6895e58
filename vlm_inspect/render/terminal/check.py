"""A check's report in the colours of a terminal; the signs say the same without."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from vlm_inspect.core.snapshot import CheckResult
from vlm_inspect.render.cells import Layout
from vlm_inspect.render.check import Line, Sign, plain_lines, report_lines, summary
from vlm_inspect.render.terminal.console import printed

_STYLES: dict[Sign, str] = {"+": "green", "-": "red", "~": "yellow", ">": "cyan", "!": "bold red"}


def coloured_report(verdicts: Sequence[CheckResult], width: int) -> str:
    """The report with each line in the colour of its sign."""
    lines = [*_coloured(report_lines(verdicts), width), Text(summary(verdicts), style="bold")]
    return printed(lines, Layout(width, colour=True))


def _coloured(lines: Sequence[Line], width: int) -> Iterator[Text]:
    for line in lines:
        for wrapped in plain_lines([line], width):
            yield Text(wrapped, style=_STYLES.get(line.sign, ""))
