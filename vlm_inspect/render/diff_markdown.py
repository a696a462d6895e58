"""The report of `diff` as Markdown for a pull request comment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from vlm_inspect.render.cells import Cell, Layout, code, concat, escape_cell, escape_table, join, text
from vlm_inspect.render.diff import Report, Section, SignedCell, changes_table
from vlm_inspect.render.markdown import inline_markdown, render_markdown

# longer lists are collapsed, so that the comment fits on a screen
_LONGEST_LIST = 8


def difference_markdown(report: Report) -> str:
    """Heading, summary, a table of changed facts, and lists of moves and paths; long lists are collapsed."""
    return "\n\n".join(_blocks(report)) + "\n"


def _blocks(report: Report) -> Iterator[str]:
    yield f"### {_inline(concat(code(report.before), text(' → '), code(report.after)))}"
    if report.empty:
        yield _inline(text(report.summary))
        return
    counts = f"{report.total.delta} parameters" if report.total and report.total.delta else ""
    totals = "".join(f" · {part}" for part in (counts, report.versions) if part)
    yield f"**{_inline(text(report.summary))}**{_inline(text(totals))}"
    table = changes_table(report)
    if table.rows:
        yield render_markdown([escape_table(replace(table, title=""))], Layout()).rstrip("\n")
    yield from _list("Moved", [_signed(each) for each in report.moves])
    yield from _list("Modules and tensors", [_signed(each) for each in report.paths])
    incomparable = [
        concat(text(f"{owner}: "), names, text(" ("), why, text(")")) for owner, names, why in report.incomparable
    ]
    yield from _list("Not comparable", incomparable)
    yield from _components_without_changes(report.sections)


def _signed(path: SignedCell) -> Cell:
    return path.cell if path.sign == ">" else concat(code(path.sign), text(" "), path.cell)


def _list(title: str, cells: Sequence[Cell]) -> Iterator[str]:
    if not cells:
        return
    items = "\n".join(f"- {_inline(cell)}" for cell in cells)
    if len(cells) <= _LONGEST_LIST:
        yield f"**{title}**"
        yield items
        return
    # Markdown inside HTML needs empty lines around it
    yield f"<details>\n<summary><b>{title}</b> ({len(cells)})</summary>\n\n{items}\n\n</details>"


def _components_without_changes(sections: Sequence[Section]) -> Iterator[str]:
    states: dict[str, list[Cell]] = {}
    for section in sections:
        if not section.lines:
            cell = concat(text(f"{section.title} ("), section.description, text(")"))
            states.setdefault(section.state, []).append(cell)
    for state, components in states.items():
        yield _inline(concat(text(f"{state.capitalize()}: "), join(components, " · ")))


def _inline(cell: Cell) -> str:
    return inline_markdown(escape_cell(cell))
