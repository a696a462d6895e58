"""What a check found, over all models: each cause once, then what is left of each model.

The report is lines with a sign and an indent; the formats only lay them out.
"""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

from vlm_inspect.core.codec import to_data
from vlm_inspect.core.difference import Change, Difference, Move, PathChange, Value
from vlm_inspect.core.snapshot import CheckResult
from vlm_inspect.render.cells import text, visible
from vlm_inspect.render.markdown import inline
from vlm_inspect.render.text.values import counted, exact_count

Sign = Literal["=", "~", ">", "+", "-", "!", ""]

_MOST_LINES = 12
"""Of one model's changes; what is more is counted."""
_CAUSES = {
    "library": "the library changed",
    "repository": "the repository changed",
    "unknown": "changed, under the same library and commit",
}


class Line(Struct, frozen=True):
    """A line of the report."""

    sign: Sign
    text: str
    indent: int = 0


def report_lines(verdicts: Sequence[CheckResult]) -> tuple[Line, ...]:
    """The report. What is shared by several models is said once over all of them."""
    return tuple(Line(line.sign, visible(line.text), line.indent) for line in _lines(verdicts))


def summary(verdicts: Sequence[CheckResult]) -> str:
    """One line: how many models are as before, and how many are not."""
    models: dict[str, str] = {}
    for each in sorted(verdicts, key=lambda each: list(_STATUS_WORDS).index(each.status), reverse=True):
        models[each.model] = each.status  # of several verdicts on one model the gravest counts
    counts = {status: list(models.values()).count(status) for status in _STATUS_WORDS}
    told = [f"{count} {_STATUS_WORDS[status]}" for status, count in counts.items() if count]
    return f"{counted(len(models), 'model')}: {', '.join(told)}" if told else "no models to check"


_STATUS_WORDS: Mapping[str, str] = {
    "different": "changed",
    "missing": "without a snapshot",
    "orphaned": "no longer configured",
    "failed": "not answered",
    "same": "as before",
}


def _lines(verdicts: Sequence[CheckResult]) -> Iterator[Line]:
    for cause, title in _CAUSES.items():
        of_cause = [each for each in verdicts if each.status == "different" and each.cause == cause]
        if of_cause:
            yield Line("", f"{title}{_versions(of_cause) if cause == 'library' else ''}:")
            yield from _shared_moves(of_cause)
            yield from _own(of_cause)
    yield from _listed(verdicts, "missing", "+", "no snapshot file (vlm-inspect snapshot writes it)")
    yield from _listed(
        verdicts, "orphaned", "-", "no longer configured (vlm-inspect snapshot --prune removes it)"
    )
    for each in verdicts:
        if each.status == "failed":
            yield Line("!", f"{each.model}: {each.message}{' ' + each.hint if each.hint else ''}")


def _versions(verdicts: Sequence[CheckResult]) -> str:
    pairs = {
        (
            each.difference.versions_before.get("transformers"),
            each.difference.versions_after.get("transformers"),
        )
        for each in verdicts
        if each.difference
    }
    said = sorted(f"transformers {before} → {after}" for before, after in pairs)
    return f" ({', '.join(said)})"


def _shared_moves(verdicts: Sequence[CheckResult]) -> Iterator[Line]:
    """Moves of one cause: what was renamed, whatever lies above it."""
    models: dict[tuple[str, ...], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for verdict in verdicts:
        for move in verdict.difference.moves if verdict.difference else ():
            models[_renamed(move)][verdict.model] += move.parameters
    for (before, after), counts in sorted(models.items(), key=lambda item: (-len(item[1]), item[0])):
        moved = sum(counts.values())
        total = "1 parameter" if moved == 1 else f"{exact_count(moved)} parameters"
        yield Line(">", f"{before} → {after}: {counted(len(counts), 'model')}, {total} moved")
        yield Line(
            "", ", ".join(f"{model} {exact_count(count)}" for model, count in sorted(counts.items())), 2
        )


def _renamed(move: Move) -> tuple[str, ...]:
    """A move without what both ends have in common: the level that went, came, or has another name."""
    before, after = move.before.split("."), move.after.split(".") if move.after else []
    common = 0
    while common < min(len(before), len(after)) and before[common] == after[common]:
        common += 1
    lead = ["…"] if common else []
    below = ["*"] if move.what == "module" else []
    return tuple(".".join([*lead, *parts[common:], *below]) for parts in (before, after))


def _own(verdicts: Sequence[CheckResult]) -> Iterator[Line]:
    """What of each model no move tells."""
    for verdict in sorted(verdicts, key=lambda each: each.model):
        difference = verdict.difference
        if difference is None or not (difference.changes or difference.paths):
            continue
        lines = [*map(_change, difference.changes), *map(_path, difference.paths)]
        yield Line("~", f"{verdict.model}{_totals(difference)}:")
        yield from (Line(line.sign, line.text, 2) for line in lines[:_MOST_LINES])
        if len(lines) > _MOST_LINES:
            yield Line(
                "", f"and {len(lines) - _MOST_LINES} more: vlm-inspect diff {verdict.file} {verdict.model}", 2
            )


def _totals(difference: Difference) -> str:
    before, after = difference.total_before, difference.total_after
    if before == after or before is None or after is None:
        return ""
    return f" {exact_count(before)} → {exact_count(after)} parameters"


def _change(change: Change) -> Line:
    whose = ", ".join(role.value for role in change.roles)
    name = f"{whose}: {change.field}" if whose else change.field
    if change.kind == "added":
        return Line("+", f"{name} {said(change.after)}")
    if change.kind == "removed":
        return Line("-", f"{name} {said(change.before)}")
    return Line("~", f"{name} {said(change.before)} → {said(change.after)}")


def _path(path: PathChange) -> Line:
    what = f"{path.what} {path.path}{f' ({path.count} times)' if path.count > 1 else ''}"
    if path.kind == "added":
        return Line("+", f"{what}: {path.after}")
    if path.kind == "removed":
        return Line("-", f"{what}: {path.before}")
    return Line("~", f"{what}: {path.before} → {path.after}")


def said(value: Value | None) -> str:
    """A fact's value in a line of text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return exact_count(value)
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _listed(verdicts: Sequence[CheckResult], status: str, sign: Sign, what: str) -> Iterator[Line]:
    files = sorted(each.file for each in verdicts if each.status == status)
    if files:
        yield Line(sign, f"{what}:")
        yield from (Line("", file, 2) for file in files)


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
