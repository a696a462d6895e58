"""Every output format with hostile names."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.render.readers import csv_rows, latex_rows, markdown_rows, read_page
from vlm_inspect.render import FORMATS, render
from vlm_inspect.render.cells import Table, code, concat, escape_control_chars, link, plain_text, text
from vlm_inspect.render.columns import KINDS
from vlm_inspect.render.json import to_json
from vlm_inspect.render.table import build_table

HOSTILE = [
    "a|b",
    "a\\|b",
    "a\\",
    "a\nb",
    "a\r\n| b |",
    "\x1b[31mred\x1b[0m",
    "\x1b]8;;https://evil.example\x07click\x1b]8;;\x07",
    "\u202eevil",
    "[click](https://evil.example)",
    "![x](javascript:alert(1))",
    "<script>alert(1)</script>",
    "</td></table>",
    "&lt;b&gt; &amp;amp; &#124;",
    "`code`",
    "``",
    "`",
    " ",
    "*bold* _it_ __b__ ~~s~~ $x$",
    r"\input{/etc/passwd} $x^2$ 50% #1 a_b ~ {x}",
    r"\\ [2pt] * --- & ",
    "=HYPERLINK(1)",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\uff1d1+1",
    " \uff20SUM(A1)",
    "{{ 7 * 7 }}{% raw %}",
    "\ud800lone",
    "日本語モデル",
    "x" * 500,
]
FULL_WIDTH = "\uff1d\uff0b\uff0d\uff20"
READERS = {
    "markdown": markdown_rows,
    "csv": csv_rows,
    "latex": latex_rows,
    "html": lambda page: read_page(page).rows,
}
WIDTHS = (40, 80, 120, 200)
ANY_TEXT = st.text(st.characters(codec="utf-8"), max_size=30)


def table_of(*values):
    rows = tuple((text("before"), code(v), text(v), concat(text("(x, "), code(v), text(")"))) for v in values)
    return Table(("#", "Code", "Words", "Both"), rows, "Title", ("a note",))


def expected_text(name, value):
    """The text that a reader gets: CSV quotes formulas, other formats collapse spaces."""
    shown = escape_control_chars(value)
    if name == "csv":
        return "'" + shown if shown.lstrip()[:1] in {*"=+-@", *FULL_WIDTH} else shown
    return " ".join(shown.split())


def normalized(name, cell):
    """A cell without the spaces at which a format may wrap, and without quotes around blanks."""
    return cell if name == "csv" else " ".join(cell.split()).replace("' '", "").strip()


def test_every_format_has_a_reader():
    assert {*READERS, "terminal"} == set(FORMATS)


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("name", READERS)
def test_a_hostile_name_survives_a_round_trip(name, value):
    written = render(table_of(value), name)
    head, row = READERS[name](written)
    assert head == ["#", "Code", "Words", "Both"]
    assert len(row) == 4
    assert normalized(name, row[1]) == expected_text(name, value)
    assert normalized(name, row[2]) == expected_text(name, value)


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("name", FORMATS)
def test_control_characters_are_escaped_in_every_format(name, value):
    written = render(table_of(value), name)
    assert written.endswith("\n")
    assert written.replace("\n", "").isprintable()
    written.encode("utf-8")


@pytest.mark.parametrize("name", ["markdown", "html", "csv", "latex"])
@given(values=st.lists(ANY_TEXT, min_size=1, max_size=4))
def test_any_text_keeps_the_table_structure(name, values):
    read = READERS[name](render(table_of(*values), name))
    assert [len(row) for row in read] == [4] * (len(values) + 1)
    if name in {"markdown", "html"}:
        for row, value in zip(read[1:], values, strict=True):
            assert normalized(name, row[2]) == " ".join(escape_control_chars(value).split())


@pytest.mark.parametrize("value", HOSTILE)
def test_cells_add_no_html_tags(value):
    tags = set(read_page(render(table_of(value), "html")).tags)
    assert not tags & {"script", "b", "img", "iframe"}


def test_link_targets_are_escaped():
    cells = (link("a](b) | <c>", 'https://huggingface.co/a"b(c)|d e'),)
    table = Table(("Link",), (cells,))
    assert len(markdown_rows(render(table, "markdown"))[1]) == 1
    assert "(https://huggingface.co/a%22b%28c%29%7Cd%20e)" in render(table, "markdown")
    assert read_page(render(table, "html")).links == ['https://huggingface.co/a"b(c)|d e']


def test_latex_rows_keep_their_columns():
    written = render(table_of("a & b", "[2pt]", "*"), "latex")
    assert r"\begin{tabular}{@{}llll@{}}" in written
    assert [len(row) for row in latex_rows(written)] == [4] * 4


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_table_is_never_wider_than_the_terminal(kind, width, rows):
    for tables in (build_table(kind, rows), table_of(*HOSTILE)):
        lines = render(tables, "terminal", width=width).splitlines()
        assert max(cell_len(line) for line in lines) <= width


@pytest.mark.parametrize("kind", KINDS)
def test_a_terminal_without_colour_has_no_escapes_and_all_text(kind, rows):
    table = build_table(kind, rows)
    uncoloured = render(table, "terminal", width=2000)
    assert "\x1b" not in uncoloured
    assert "\x1b[" in render(table, "terminal", width=2000, colour=True)
    for row in table.rows:
        for cell in row:
            assert all((span.href or span.text).strip() in uncoloured for span in cell)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_format_of_every_kind(kind, name, rows, golden):
    width = 80 if name == "terminal" else 100
    written = render(build_table(kind, rows), name, width=width)
    assert written == render(build_table(kind, rows), name, width=width)
    golden(f"{kind}.{name}.txt", written)


@pytest.mark.parametrize("kind", KINDS)
def test_the_formats_agree(kind, rows):
    table = build_table(kind, rows)
    cells = [list(table.headers), *([plain_text(cell) for cell in row] for row in table.rows)]
    for name in ("markdown", "latex", "html"):
        assert READERS[name](render(table, name)) == cells
    spelled_out = [["".join(span.href or span.text for span in cell) for cell in row] for row in table.rows]
    assert csv_rows(render(table, "csv"))[1:] == spelled_out


def test_several_tables_are_separated():
    tables = [Table(("A",), ((text("1"),),), "First"), Table(("B",), ((text("2"),),), "Second")]
    assert "### First\n" in render(tables, "markdown")
    assert "### " not in render(tables[0], "markdown")
    assert render(tables, "csv") == "A\n1\n\nB\n2\n"
    assert read_page(render(tables, "html")).rows == [["A"], ["1"], ["B"], ["2"]]


def test_hostile_names_survive_json():
    data = {"names": HOSTILE, "eps": float("nan")}
    written = to_json(data)
    assert json.loads(written) == {"names": HOSTILE, "eps": None}
    assert written.replace("\n", "").isprintable()
