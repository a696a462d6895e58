"""GitHub-flavoured Markdown.

Columns are not padded: a padded table changes in every line when one cell grows, and a diff of a
README should show the models that changed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from urllib.parse import quote

from vlm_inspect.render.cells import Cell, Layout, Span, Table, text

# what can begin markup inside a line; an underscore only at the edge of a word
_SPECIAL = re.compile(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])")
_ENTITY = re.compile(r"&(?=#?\w+;)")
_BACKTICKS = re.compile(r"`+")
_CODE_ENTITIES = {ord(char): f"&#{ord(char)};" for char in "|\\`*_[]~$"}
_URL_SAFE = ":/?#@!&=+,;~%-._"


def markdown(tables: Sequence[Table], _layout: Layout) -> str:
    """Pipe tables. A lone table has no title: its place in a document has a heading of its own."""
    blocks = [_table(table, titled=len(tables) > 1) for table in tables]
    return "\n\n".join(blocks) + "\n"


def _table(table: Table, *, titled: bool) -> str:
    head = _row([_words(header) for header in table.headers])
    rule = _row(["---"] * len(table.headers))
    body = [_row([inline(cell) for cell in row]) for row in table.rows]
    heading = f"### {_words(table.title)}\n\n" if titled and table.title else ""
    notes = "\n".join(f"- {_words(note)}" for note in table.notes)
    return heading + "\n".join([head, rule, *body]) + (f"\n\n{notes}" if notes else "")


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def inline(cell: Cell) -> str:
    """A cell's text inside a line of Markdown."""
    return "".join(_span(span) for span in cell)


def _span(span: Span) -> str:
    words = code_span(span.text) if span.code else _words(span.text)
    return f"[{words}]({quote(span.href, safe=_URL_SAFE)})" if span.href else words


def _words(value: str) -> str:
    escaped = _SPECIAL.sub(r"\\\g<0>", value)
    return _ENTITY.sub("&amp;", escaped).replace("<", "&lt;")


def fenced(lines: str) -> str:
    """Lines as a code block, which ends where it ends, whatever is in it."""
    fence = "`" * max(3, _longest_run(lines) + 1)
    return f"{fence}text\n{lines}{fence}\n"


def code_span(value: str) -> str:
    """A code span that is a code span whatever is in it, in a table too."""
    if not value.strip():
        return inline(text(repr(value)))
    if "|" in value and "\\" in value:  # parsers differ on which backslash belongs to which bar
        return f"<code>{escape(value).translate(_CODE_ENTITIES)}</code>"
    fence = "`" * (_longest_run(value) + 1)
    gap = " " if value.startswith(("`", " ")) or value.endswith(("`", " ")) else ""
    return f"{fence}{gap}{value}{gap}{fence}".replace("|", "\\|")


def _longest_run(value: str) -> int:
    return max((len(found) for found in _BACKTICKS.findall(value)), default=0)
