"""Parsers of the output formats, for round-trip tests."""

import csv
import io
import re
from html.parser import HTMLParser

from markdown_it import MarkdownIt

LATEX_TOKENS = {
    r"\textbackslash{}": "\\",
    r"\{": "{",
    r"\}": "}",
    r"\$": "$",
    r"\&": "&",
    r"\%": "%",
    r"\#": "#",
    r"\_": "_",
    r"\textasciicircum{}": "^",
    r"\textasciitilde{}": "~",
    r"\textless{}": "<",
    r"\textgreater{}": ">",
    r"\textbar{}": "|",
    r"\textasciigrave{}": "`",
    r"\textquotedbl{}": '"',
    "---": "—",
    r"\ldots{}": "…",
    "{[}": "[",
    "{*}": "*",
    "{}": "",
}
LATEX_TOKEN = re.compile("|".join(re.escape(token) for token in sorted(LATEX_TOKENS, key=len, reverse=True)))


def markdown_rows(text):
    """The rows of all tables; fails on markup that no cell may have."""
    rows, cell = [], None
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type == "tr_open":
            rows.append([])
        elif token.type in {"td_open", "th_open"}:
            cell = []
        elif token.type in {"td_close", "th_close"}:
            rows[-1].append("".join(cell))
            cell = None
        elif token.type == "inline" and cell is not None:
            cell.extend(inline_text(child) for child in token.children)
    return rows


def inline_text(token):
    if token.type in {"text", "code_inline", "text_special"}:
        return token.content
    assert token.type in {"link_open", "link_close"} or token.content in {"<code>", "</code>"}, token
    return ""


class _Page(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.rows, self.links, self.tags, self._cell = [], [], [], None

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            self._cell = []
        elif tag == "a":
            self.links.append(dict(attrs)["href"])

    def handle_endtag(self, tag):
        if tag in {"td", "th"}:
            self.rows[-1].append("".join(self._cell))
            self._cell = None

    def handle_data(self, data):
        if self._cell is not None:
            self._cell.append(data)


def read_page(text):
    page = _Page()
    page.feed(text)
    page.close()
    return page


def csv_rows(text):
    return list(csv.reader(io.StringIO(text), strict=True))


def latex_rows(text):
    body = text.partition("\\toprule\n")[2].partition("\\bottomrule")[0].replace("\\midrule\n", "")
    assert "\\midrule" not in body
    return [
        [latex_text(cell) for cell in re.split(r"(?<!\\) & ", line.removesuffix(r" \\"))] for line in body.splitlines()
    ]


def latex_text(cell):
    cell = re.sub(r"\\href\{[^}]*\}\{(.*)\}", r"\1", cell)
    cell = re.sub(r"\\texttt\{((?:\\[a-z]+\{\}|\\.|\{.?\}|[^{}\\])*)\}", r"\1", cell)
    return LATEX_TOKEN.sub(lambda found: LATEX_TOKENS[found[0]], cell)
