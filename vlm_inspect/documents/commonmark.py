"""What of a Markdown text is code, as in CommonMark."""

from __future__ import annotations

import re
from collections.abc import Iterator

# Not str.splitlines: it also breaks at form feeds and U+2028, which end no line of a Markdown file.
LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")
"""A line with its ending."""
LINE_END = re.compile(r"\r\n|\r|\n")
"""What ends a line."""
BOM = "\ufeff"
"""The byte order mark that may stand before the first line."""

_FENCE = re.compile(r" {0,3}(?P<fence>`{3,}(?=[^`]*\Z)|~{3,})(?P<info>.*)", re.DOTALL)
_BACKTICKS = re.compile(r"`+")


def lines_outside_code(text: str) -> Iterator[tuple[int, int, str]]:
    """(number, start, line without its ending) of the lines that are no code block, as in CommonMark."""
    fence = ""
    for number, match in enumerate(LINE.finditer(text), start=1):
        line = match.group().rstrip("\r\n")
        bars = _FENCE.match(line.removeprefix(BOM) if number == 1 else line)
        if fence:
            if bars and bars["fence"].startswith(fence) and not bars["info"].strip(" \t"):
                fence = ""
        elif bars:
            fence = bars["fence"]
        elif not line.startswith(("    ", "\t", " \t", "  \t", "   \t")):
            yield number, match.start(), line


def without_inline_code(line: str) -> str:
    """What of a line is not between two runs of as many backticks; in time that grows with the line."""
    runs = list(_BACKTICKS.finditer(line))
    closing: dict[int, int] = {}
    latest: dict[int, int] = {}
    for index in range(len(runs) - 1, -1, -1):
        width = len(runs[index].group())
        closing[index] = latest.get(width, -1)
        latest[width] = index
    kept, done, index = [], 0, 0
    while index < len(runs):
        if (close := closing[index]) > 0:
            kept.append(line[done : runs[index].start()])
            done, index = runs[close].end(), close
        index += 1
    return "".join([*kept, line[done:]])
