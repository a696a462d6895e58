"""A difference as a comment on a pull request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from vlm_inspect.render.cells import Cell, Layout, Span, code, concat, join, made_visible, text, visible
from vlm_inspect.render.diff import Report, Section, Signed, changes_table
from vlm_inspect.render.markdown import inline, markdown

# a longer list is folded away, so that a comment stays as long as a screen
_LONGEST_LIST = 8


def difference_markdown(report: Report) -> str:
    """Heading, summary, what changed as a table, what moved as a list; long lists are folded."""
    return "\n\n".join(_blocks(report)) + "\n"


def _blocks(report: Report) -> Iterator[str]:
    yield f"### {_inline(concat(code(report.before), text(' → '), code(report.after)))}"
    if report.empty:
        yield _inline(text(report.summary))
        return
    yield f"**{_inline(text(report.summary))}**{_inline(text(_beside(report)))}"
    table = changes_table(report)
    if table.rows:
        yield markdown([made_visible(replace(table, title=""))], Layout()).rstrip("\n")
    yield from _list("Moved", [_signed(each) for each in report.moves])
    yield from _list("Modules and parameters", [_signed(each) for each in report.paths])
    yield from _list("Not comparable", [_untold(*each) for each in report.incomparable])
    yield from _folded(report.sections)


def _beside(report: Report) -> str:
    """The total and the libraries, where they differ."""
    told = [f"{report.total.beside} parameters"] if report.total and report.total.beside else []
    told += [report.versions] if report.versions else []
    return "".join(f" · {each}" for each in told)


def _signed(told: Signed) -> Cell:
    return told.cell if told.sign == ">" else concat(code(told.sign), text(" "), told.cell)


def _untold(whose: str, names: Cell, why: Cell) -> Cell:
    return concat(text(f"{whose}: "), names, text(" ("), why, text(")"))


def _list(title: str, cells: Sequence[Cell]) -> Iterator[str]:
    if not cells:
        return
    items = "\n".join(f"- {_inline(cell)}" for cell in cells)
    if len(cells) <= _LONGEST_LIST:
        yield f"**{title}**"
        yield items
        return
    # Markdown inside HTML is read as such only between empty lines
    yield f"<details>\n<summary><b>{title}</b> ({len(cells)})</summary>\n\n{items}\n\n</details>"


def _folded(sections: Sequence[Section]) -> Iterator[str]:
    """The components without a changed fact, by what is said of them."""
    for state in dict.fromkeys(section.state for section in sections if not section.lines):
        told = [
            concat(text(f"{section.title} ("), section.about, text(")"))
            for section in sections
            if section.state == state and not section.lines
        ]
        yield _inline(concat(text(f"{state.capitalize()}: "), join(told, " · ")))


def _inline(cell: Cell) -> str:
    return inline(tuple(Span(visible(span.text), span.code, span.href) for span in cell))
