"""LaTeX output: booktabs tabulars, to be put into a table environment."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vlm_inspect.render.cells import Layout, Span, Table

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
    # at the start of a row, these two would be arguments of the preceding \\
    "[": "{[}",
    "*": "{*}",
}
_SPECIAL_CHARACTER = re.compile("|".join(re.escape(char) for char in _SPECIAL))
_HYPHENS = re.compile(r"-(?=-)")


def render_latex(tables: Sequence[Table], _layout: Layout) -> str:
    """A tabular for each table."""
    preamble = "% \\usepackage[T1]{fontenc}\n% \\usepackage{booktabs,hyperref}\n"
    return preamble + "\n".join(_table(table) for table in tables)


def _table(table: Table) -> str:
    lines = [f"% {table.title}"] if table.title else []
    lines += [rf"\begin{{tabular}}{{@{{}}{'l' * len(table.headers)}@{{}}}}", r"\toprule"]
    lines += [_row([_escape(header) for header in table.headers]), r"\midrule"]
    lines += [_row(["".join(map(_span, cell)) for cell in row]) for row in table.rows]
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\noindent {_escape(note)}" for note in table.notes]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _span(span: Span) -> str:
    label = rf"\texttt{{{_escape(span.text)}}}" if span.code else _escape(span.text)
    return rf"\href{{{_escape_url(span.href)}}}{{{label}}}" if span.href else label


def _escape(value: str) -> str:
    separated = _HYPHENS.sub("-\0", value)  # two hyphens would become a dash
    return _SPECIAL_CHARACTER.sub(lambda match: _SPECIAL[match[0]], separated).replace("\0", "{}")


def _escape_url(href: str) -> str:
    return re.sub(
        r"[\\{}%#&~^]",
        lambda match: f"\\%{ord(match[0]):02X}" if match[0] in "\\{}^" else f"\\{match[0]}",
        href,
    )
