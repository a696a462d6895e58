"""LaTeX: booktabs tabulars, for the table environment of a paper."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vlm_inspect.render.cells import Cell, Layout, Span, Table

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    '"': r"\textquotedbl{}",
    "—": "---",
    "…": r"\ldots{}",
    # after the \\ that ends a row, these two would be its arguments
    "[": "{[}",
    "*": "{*}",
}
_SPECIAL_CHARACTER = re.compile("|".join(re.escape(char) for char in _SPECIAL))
_DASHES = re.compile(r"-(?=-)")


def latex(tables: Sequence[Table], _layout: Layout) -> str:
    """A tabular per table."""
    preamble = "% \\usepackage[T1]{fontenc}\n% \\usepackage{booktabs,hyperref}\n"
    return preamble + "\n".join(_table(table) for table in tables)


def _table(table: Table) -> str:
    lines = [f"% {table.title}"] if table.title else []
    lines += [rf"\begin{{tabular}}{{@{{}}{'l' * len(table.headers)}@{{}}}}", r"\toprule"]
    lines += [_row([_words(header) for header in table.headers]), r"\midrule"]
    lines += [_row([_cell(cell) for cell in row]) for row in table.rows]
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\noindent {_words(note)}" for note in table.notes]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _cell(cell: Cell) -> str:
    return "".join(_span(span) for span in cell)


def _span(span: Span) -> str:
    words = rf"\texttt{{{_words(span.text)}}}" if span.code else _words(span.text)
    return rf"\href{{{_url(span.href)}}}{{{words}}}" if span.href else words


def _words(value: str) -> str:
    parted = _DASHES.sub("-\0", value)  # two hyphens would become a dash
    return _SPECIAL_CHARACTER.sub(lambda found: _SPECIAL[found[0]], parted).replace("\0", "{}")


def _url(href: str) -> str:
    return re.sub(
        r"[\\{}%#&~^]",
        lambda found: f"\\%{ord(found[0]):02X}" if found[0] in "\\{}^" else f"\\{found[0]}",
        href,
    )
