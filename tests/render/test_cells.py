import pytest

from vlm_inspect.render.cells import (
    Span,
    Table,
    code,
    concat,
    escape_control_chars,
    escape_table,
    join,
    plain_text,
    text,
)


def test_adjacent_text_spans_are_merged():
    assert concat(text("a"), text("b"), code("C"), text("d")) == (Span("ab"), Span("C", code=True), Span("d"))


def test_cells_are_joined_with_a_separator():
    assert join([code("A"), code("B")], " / ") == (Span("A", code=True), Span(" / "), Span("B", code=True))
    assert join([], " + ") == ()


@pytest.mark.parametrize(
    ("hostile", "escaped"),
    [
        ("plain — ok", "plain — ok"),
        ("a\nb", "a\\u000ab"),
        ("\x1b[31mred", "\\u001b[31mred"),
        ("\x9b2J", "\\u009b2J"),
        ("abc\u202edef", "abc\\u202edef"),
        ("a\u2066b\u200bc\ufeff", "a\\u2066b\\u200bc\\ufeff"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("a\u2028b\u00a0c", "a\\u2028b\\u00a0c"),
    ],
)
def test_invisible_characters_are_escaped(hostile, escaped):
    assert escape_control_chars(hostile) == escaped


def test_all_text_of_a_table_is_escaped():
    table = escape_table(Table(("a\n",), ((code("b\t"),),), "c\r", ("d\x1b",)))
    assert table == Table(("a\\u000a",), ((code("b\\u0009"),),), "c\\u000d", ("d\\u001b",))
    assert plain_text(table.rows[0][0]) == "b\\u0009"
