"""The report of `check`: moves shared by several models once, then the other changes of each model.

The report is a list of lines with a sign and an indent, which every text format lays out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Literal

from msgspec import Struct

from vlm_inspect.core.codec import to_data
from vlm_inspect.core.difference import Change, Difference, Move, PathChange
from vlm_inspect.core.snapshot import CheckResult
from vlm_inspect.render import diff_text
from vlm_inspect.render.cells import Layout, escape_control_chars, plain_text, text, wrap_hanging
from vlm_inspect.render.diff import SIGNS
from vlm_inspect.render.markdown import inline_markdown
from vlm_inspect.render.text.values import UNCERTAIN, exact_count, plural

Sign = Literal["~", ">", "+", "-", "?", "!", ""]

_MOST_LINES = 12
"""Lines of changes for one model; further changes are only counted."""
_NARROWEST = 24
_ONE_LINE = 1000
_STYLES: Mapping[Sign, str] = {
    "+": "green",
    "-": "red",
    "~": "yellow",
    ">": "cyan",
    "?": "yellow",
    "!": "bold red",
    "": "",
}
_CAUSES = {
    "library": "the library changed",
    "repository": "the repository changed",
    "unknown": "changed with the same library and commit",
}
_FILES: tuple[tuple[str, Sign, str], ...] = (
    ("missing", "+", "no snapshot file (create it: vlm-inspect snapshot)"),
    ("orphaned", "-", "no longer configured (remove it: vlm-inspect snapshot --prune)"),
)
_STATUSES: Mapping[str, str] = {
    "different": "changed",
    "missing": "without a snapshot",
    "orphaned": "no longer configured",
    "failed": "failed",
    "same": "unchanged",
}
"""The most serious first."""


class Line(Struct, frozen=True):
    """A line of the report."""

    sign: Sign
    text: str
    indent: int = 0


def report_text(results: Sequence[CheckResult], width: int = 100, *, colour: bool = False) -> str:
    """The report for a terminal or a log; with `colour`, each line in the colour of its sign."""
    lines = report_lines(results)
    if not colour:
        wrapped = [_wrapped(line, width) for line in (*lines, Line("", summary(results)))]
        return "".join(f"{line}\n" for line in chain(*wrapped))
    from rich.text import Text

    from vlm_inspect.render.terminal.console import render_text

    coloured = [Text(part, _STYLES[line.sign]) for line in lines for part in _wrapped(line, width)]
    return render_text([*coloured, Text(summary(results), "bold")], Layout(width, colour))


def report_markdown(results: Sequence[CheckResult]) -> str:
    """The report as a pull request comment or a job summary."""
    markdown = f"### vlm-inspect: {summary(results)}\n\n"
    for line in report_lines(results):
        sign = f"`{line.sign}` " if line.sign else ""
        markdown += f"{' ' * line.indent}- {sign}{inline_markdown(text(line.text))}\n"
    return markdown


def report_data(results: Sequence[CheckResult]) -> dict[str, Any]:
    """The results as JSON data."""
    return {"summary": summary(results), "models": [to_data(result) for result in results]}


def report_annotations(results: Sequence[CheckResult], folder: str) -> str:
    """GitHub workflow commands: an error for a difference or a failure, a warning for an orphaned file."""
    levels = {"different": "error", "failed": "error", "missing": "error", "orphaned": "warning"}
    lines = [_annotation(levels[result.status], result, folder) for result in results if result.status in levels]
    return "\n".join([*lines, summary(results), ""])


def summary(results: Sequence[CheckResult]) -> str:
    """`2 models: 1 changed, 1 unchanged`; of several results for one model the most serious counts."""
    statuses: dict[str, str] = {}
    for each in sorted(results, key=lambda each: list(_STATUSES).index(each.status), reverse=True):
        statuses[each.model] = each.status
    counts = {status: list(statuses.values()).count(status) for status in _STATUSES}
    parts = [f"{count} {_STATUSES[status]}" for status, count in counts.items() if count]
    return f"{plural(len(statuses), 'model')}: {', '.join(parts)}" if parts else "no models to check"


def report_lines(results: Sequence[CheckResult]) -> tuple[Line, ...]:
    """The lines of the report, without control characters."""
    return tuple(Line(line.sign, escape_control_chars(line.text), line.indent) for line in _lines(results))


def _wrapped(line: Line, width: int) -> list[str]:
    start = " " * line.indent + (f"{line.sign} " if line.sign else "")
    return wrap_hanging(line.text, max(width, _NARROWEST), start, break_long_words=True)


def _lines(results: Sequence[CheckResult]) -> Iterator[Line]:
    for cause, title in _CAUSES.items():
        with_cause = [each for each in results if each.status == "different" and each.cause == cause]
        if with_cause:
            yield Line("", f"{title}{_versions(with_cause) if cause == 'library' else ''}:")
            yield from _shared_moves(with_cause)
            yield from _changes_by_model(with_cause)
    for status, sign, title in _FILES:
        files = sorted(each.file for each in results if each.status == status)
        if files:
            yield Line(sign, f"{title}:")
            yield from (Line("", file, 2) for file in files)
    for each in results:
        if each.status == "failed":
            yield Line("!", f"{each.model}: {each.message}{' ' + each.hint if each.hint else ''}")


def _versions(results: Sequence[CheckResult]) -> str:
    both = ((each.difference.versions_before, each.difference.versions_after) for each in results if each.difference)
    name = "transformers"
    versions = sorted({f"{name} {before.get(name)} → {after.get(name)}" for before, after in both})
    return f" ({', '.join(versions)})"


def _shared_moves(results: Sequence[CheckResult]) -> Iterator[Line]:
    """Moves with the models that they are in; moves that differ only in the parent are the same."""
    models: dict[tuple[str, ...], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for result in results:
        for move in result.difference.moves if result.difference else ():
            models[_different_ends(move)][result.model] += move.tensors
    for (before, after), counts in sorted(models.items(), key=lambda item: (-len(item[1]), item[0])):
        moved = sum(counts.values())
        total = "1 tensor" if moved == 1 else f"{exact_count(moved)} tensors"
        yield Line(">", f"{before} → {after}: {plural(len(counts), 'model')}, {total} moved")
        yield Line("", ", ".join(f"{model} {exact_count(count)}" for model, count in sorted(counts.items())), 2)


def _different_ends(move: Move) -> tuple[str, ...]:
    """The old and the new path of a move without their common start: `….vision_model.*`, `….*`."""
    before, after = move.before.split("."), move.after.split(".") if move.after else []
    common = 0
    while common < min(len(before), len(after)) and before[common] == after[common]:
        common += 1
    start = ["…"] if common else []
    end = ["*"] if move.what == "module" else []
    return tuple(".".join([*start, *parts[common:], *end]) for parts in (before, after))


def _changes_by_model(results: Sequence[CheckResult]) -> Iterator[Line]:
    for result in sorted(results, key=lambda each: each.model):
        difference = result.difference
        if difference is None or not (difference.changes or difference.paths):
            continue
        lines = [_change_line(change, difference) for change in difference.changes]
        lines += [_path_line(path) for path in difference.paths]
        yield Line("~", f"{result.model}{_totals(difference)}:")
        yield from (Line(line.sign, line.text, 2) for line in lines[:_MOST_LINES])
        rest = len(lines) - _MOST_LINES
        if rest > 0:
            yield Line("", f"and {rest} more: vlm-inspect diff {result.file} {result.model}", 2)


def _totals(difference: Difference) -> str:
    before, after = difference.total_before, difference.total_after
    if before == after or before is None or after is None:
        return ""
    marks = (UNCERTAIN if why else "" for why in (difference.uncertain_before, difference.uncertain_after))
    old, new = (exact_count(total) + mark for total, mark in zip((before, after), marks, strict=True))
    return f" {old} → {new} parameters"


def _change_line(change: Change, difference: Difference) -> Line:
    field = change.field
    if field == "component":
        places = (difference.pairs[index] for index in change.pairs)
        field += "".join(f" at {pair.before or pair.after}:" for pair in places if pair.before or pair.after)
    roles = ", ".join(role.value for role in change.roles)
    name = f"{roles}: {field}" if roles else field
    cells = zip((change.before, change.after), map(plain_text, diff_text.change_cells(change)), strict=True)
    before, after = (
        f"{value:,}" if isinstance(value, int) and shown == str(value) else shown for value, shown in cells
    )
    if change.kind == "changed":
        return Line("~", f"{name} {before} → {after}")
    return Line("+", f"{name} {after}") if change.kind == "added" else Line("-", f"{name} {before}")


def _path_line(path: PathChange) -> Line:
    return Line(SIGNS[path.kind], plain_text(diff_text.path_cell(path)))


def _annotation(level: str, result: CheckResult, folder: str) -> str:
    message = "\n".join(line for each in report_lines([result]) for line in _wrapped(each, _ONE_LINE))
    file = _escaped_property(f"{folder}/{result.file}")
    title = _escaped_property(f"vlm-inspect: {result.model}")
    return f"::{level} file={file},title={title}::{_escaped_message(message)}"


def _escaped_message(value: str) -> str:
    """Escape a message as GitHub's toolkit does; line breaks become %0A."""
    lines = "\n".join(escape_control_chars(line) for line in value.split("\n"))
    return lines.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escaped_property(value: str) -> str:
    return _escaped_message(value).replace(":", "%3A").replace(",", "%2C")
