"""The report of `diff` as Markdown for a pull request comment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from vlm_inspect.render.cells import Cell, Layout, code, concat, escape_table, join, text
from vlm_inspect.render.diff import Report, Section, SignedCell, changes_table
from vlm_inspect.render.diff_text import escape_cell
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
    yield f"**{_inline(text(report.summary))}**{_inline(text(_totals(report)))}"
    table = changes_table(report)
    if table.rows:
        yield render_markdown([escape_table(replace(table, title=""))], Layout()).rstrip("\n")
    yield from _list("Moved", [_signed(each) for each in report.moves])
    yield from _list("Modules and parameters", [_signed(each) for each in report.paths])
    yield from _list(
        "Not comparable",
        [
            concat(text(f"{owner}: "), names, text(" ("), why, text(")"))
            for owner, names, why in report.incomparable
        ],
    )
    yield from _components_without_changes(report.sections)


def _totals(report: Report) -> str:
    """The change of the total, and of the libraries."""
    parts = [f"{report.total.delta} parameters"] if report.total and report.total.delta else []
    parts += [report.versions] if report.versions else []
    return "".join(f" · {part}" for part in parts)


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
    """The components without changed facts, a line for each state."""
    for state in dict.fromkeys(section.state for section in sections if not section.lines):
        components = [
            concat(text(f"{section.title} ("), section.about, text(")"))
            for section in sections
            if section.state == state and not section.lines
        ]
        yield _inline(concat(text(f"{state.capitalize()}: "), join(components, " · ")))


def _inline(cell: Cell) -> str:
    return inline_markdown(escape_cell(cell))
