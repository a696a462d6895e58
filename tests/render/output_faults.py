"""Strict readers of each output format: anything that may be more than plain text is a fault."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from html.parser import HTMLParser

from markdown_it import MarkdownIt

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_TAG = re.compile("html|head|meta|title|style|body|main|section|div|table|caption|thead|tbody|tr|th|td|ul|li|code|a")
_ATTRIBUTE = re.compile("lang|charset|name|content|class|tabindex|role|aria-label|scope|href")
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_OF_A_DIFFERENCE = ("markup in Markdown: strong_open", "HTML in Markdown: a folded list")
_FOLDED = re.compile(r"<details>\n<summary><b>[A-Za-z ]+</b> \(\d+\)</summary>\n|</details>\n?")
_OWN_LINKS = "https://huggingface.co/"
_LATEX_COMMANDS = re.compile(
    r"\\(?:textbackslash|textasciicircum|textasciitilde|textless|textgreater|textbar|textasciigrave|textquotedbl"
    r"|ldots)\{\}|\\(?:begin|end)\{tabular\}(?:\{@\{\}l*@\{\}\})?|\\(?:toprule|midrule|bottomrule)"
    r"|\\par\\noindent "
    r"|\\(?:texttt|href)(?=\{)|\\[{}$&%#_]|\{[\[*]\}| \\\\$",
    re.MULTILINE,
)
_ANNOTATION = re.compile(r"::(error|warning) file=[^,:\s][^,:]*,title=[^,:]*::")
_UNESCAPED_BAR = re.compile(r"(?<!\\)\|")


def faults_of(text: str, form: str, *, folded: bool = False) -> list[str]:
    """Markup, control characters and broken syntax in an output.

    `folded`: the output has bold words and folded lists of its own, as a difference has.
    """
    shown = _COLOURS.sub("", text) if form == "terminal" else text
    faults = [*steering(shown), *(_READERS[form](shown) if form in _READERS else ())]
    return [fault for fault in faults if not (folded and fault in _OF_A_DIFFERENCE)]


def steering(text: str) -> Iterator[str]:
    """Control and format characters, which a terminal or an editor acts on."""
    for line in text.split("\n"):
        if not line.isprintable():
            char = next(char for char in line if not char.isprintable())
            yield f"U+{ord(char):04X} reaches the output: {line[:120]!r}"
            return


def of_errors(text: str) -> Iterator[str]:
    """Faults in standard error."""
    if text.startswith("Usage: "):  # typer quotes the command line, and escapes control characters
        yield from (f"U+{ord(char):04X} in a usage error" for char in text if char < " " and char != "\n")
        return
    yield from steering(text)
    if "This is a bug" in text:
        yield text.partition("This is a bug")[2].partition("\n")[0]
    if "Traceback" in text:
        yield "a traceback"


def _markdown(text: str) -> Iterator[str]:
    widths: set[int] = set()
    for line in text.split("\n"):
        if line.startswith("|"):
            widths.add(len(_UNESCAPED_BAR.findall(line)))
        else:
            if len(widths) > 1:
                yield f"rows of a table have {sorted(widths)} bars"
            widths = set()
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type == "html_block" and not token.content.startswith("<!-- "):
            is_folded = _FOLDED.fullmatch(token.content)
            yield f"HTML in Markdown: {'a folded list' if is_folded else repr(token.content[:80])}"
        for child in token.children or ():
            yield from _inline(child)


def _inline(token: object) -> Iterator[str]:
    kind, content = getattr(token, "type", ""), getattr(token, "content", "")
    if kind == "html_inline" and content not in ("<code>", "</code>"):
        yield f"HTML in Markdown: {content[:80]!r}"
    elif kind == "image":
        yield f"an image in Markdown: {content[:80]!r}"
    elif kind in ("em_open", "strong_open", "s_open", "hardbreak"):
        yield f"markup in Markdown: {kind}"
    elif kind == "link_open":
        href = str(dict(getattr(token, "attrs", {})).get("href", ""))
        if not href.startswith(_OWN_LINKS):
            yield f"a link in Markdown to {href[:80]!r}"


class _Page(HTMLParser):
    """Collects what is not part of the template."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.faults: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if not _TAG.fullmatch(tag):
            self.faults.append(f"the tag <{tag}> in a page")
        for name, value in attrs:
            if not _ATTRIBUTE.fullmatch(name):
                self.faults.append(f"the attribute {name} in a page")
            if name == "href" and not (value or "").startswith(_OWN_LINKS):
                self.faults.append(f"a link in a page to {(value or '')[:80]!r}")
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes something else")

    def handle_comment(self, data: str) -> None:
        self.faults.append(f"a comment in a page: {data[:80]!r}")


def _page(text: str) -> Iterator[str]:
    page = _Page()
    page.feed(text)
    page.close()
    yield from page.faults
    if page.open:
        yield f"tags of a page are left open: {page.open}"


def _comma_separated(text: str) -> Iterator[str]:
    for block in text.split("\n\n"):
        rows = list(csv.reader(io.StringIO(block), strict=True))
        if len({len(row) for row in rows}) > 1:
            yield f"rows of a CSV table have {sorted({len(row) for row in rows})} cells"
        for cell in (cell for row in rows for cell in row):
            if cell.lstrip().startswith(_FORMULA_STARTS):
                yield f"a cell that a spreadsheet computes: {cell[:80]!r}"


def _latex(text: str) -> Iterator[str]:
    lines = [line for line in text.split("\n") if not line.startswith("% ")]
    text = "\n".join(lines)
    if text.count(r"\begin{tabular}") != text.count(r"\end{tabular}"):
        yield "a tabular that is not closed"
    for line in lines:
        rest = _LATEX_COMMANDS.sub("", line)
        stray = re.search(r"[\\$%#_^~]|(?<! )&|&(?! )", _without_links(rest))
        if stray:
            yield f"{stray[0]!r} as it is in LaTeX: {line[:120]!r}"


def _without_links(line: str) -> str:
    r"""A line without the URLs of href, which have escapes of their own."""
    return re.sub(r"\{https://[^{}]*\}", "", line)


def _record(text: str) -> Iterator[str]:
    try:
        json.loads(text, parse_constant=_no_constant)
    except ValueError as error:
        yield f"no JSON: {error}"


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _annotations(text: str) -> Iterator[str]:
    *lines, _summary = text.rstrip("\n").split("\n")
    for line in lines:
        if not _ANNOTATION.match(line):
            yield f"no annotation: {line[:120]!r}"


_READERS: Mapping[str, Callable[[str], Iterator[str]]] = {
    "markdown": _markdown,
    "html": _page,
    "csv": _comma_separated,
    "latex": _latex,
    "json": _record,
    "github": _annotations,
}
FORMS = ("terminal", "markdown", "json")
"""What `--format` takes for every command that has it."""
