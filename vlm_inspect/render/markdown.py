"""GitHub-flavoured Markdown output.

Columns are not padded: in a padded table, one longer cell changes every line, and the diff of a README would
not show which models changed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from urllib.parse import quote

from vlm_inspect.render.cells import Cell, Layout, Span, Table, text

# characters that start markup within a line; an underscore only at the edge of a word
_SPECIAL = re.compile(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])")
_ENTITY = re.compile(r"&(?=#?\w+;)")
_BACKTICKS = re.compile(r"`+")
_CODE_ENTITIES = {ord(char): f"&#{ord(char)};" for char in "|\\`*_[]~$"}
_URL_SAFE = ":/?#@!&=+,;~%-._"


def render_markdown(tables: Sequence[Table], _layout: Layout) -> str:
    """Pipe tables. A single table has no title: its document has a heading."""
    return "\n\n".join(_table(table, titled=len(tables) > 1) for table in tables) + "\n"


def inline_markdown(cell: Cell) -> str:
    """A cell as part of a line of Markdown."""
    return "".join(map(_span, cell))


def code_block(lines: str) -> str:
    """Lines as a code block, with a fence longer than any in the lines."""
    fence = "`" * max(3, _longest_backticks(lines) + 1)
    return f"{fence}text\n{lines}{fence}\n"


def _table(table: Table, *, titled: bool) -> str:
    head = _row([_escape(header) for header in table.headers])
    rule = _row(["---"] * len(table.headers))
    body = [_row([inline_markdown(cell) for cell in row]) for row in table.rows]
    heading = f"### {_escape(table.title)}\n\n" if titled and table.title else ""
    notes = "\n".join(f"- {_escape(note)}" for note in table.notes)
    return heading + "\n".join([head, rule, *body]) + (f"\n\n{notes}" if notes else "")


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _span(span: Span) -> str:
    label = _code_span(span.text) if span.code else _escape(span.text)
    return f"[{label}]({quote(span.href, safe=_URL_SAFE)})" if span.href else label


def _escape(value: str) -> str:
    escaped = _SPECIAL.sub(r"\\\g<0>", value)
    return _ENTITY.sub("&amp;", escaped).replace("<", "&lt;")


def _code_span(value: str) -> str:
    """A code span of any text, also inside a table."""
    if not value.strip():
        return inline_markdown(text(repr(value)))
    if "|" in value and "\\" in value:  # parsers differ on which backslash escapes which bar
        return f"<code>{escape(value).translate(_CODE_ENTITIES)}</code>"
    fence = "`" * (_longest_backticks(value) + 1)
    gap = " " if value.startswith(("`", " ")) or value.endswith(("`", " ")) else ""
    return f"{fence}{gap}{value}{gap}{fence}".replace("|", "\\|")


def _longest_backticks(value: str) -> int:
    return max((len(run) for run in _BACKTICKS.findall(value)), default=0)
