"""The checks of output_faults find broken output, and none in valid output."""

import pytest

from tests.render.output_faults import FORMS, faults_of, of_errors
from tests.render.test_formats import HOSTILE, table_of
from vlm_inspect.render import FORMATS, render
from vlm_inspect.render.json import to_json

BROKEN = {
    "markdown": [
        "| a | b |\n| --- | --- |\n| c | d | e |\n",
        "<script>x</script>\n",
        "a <b>c\n",
        "![x](https://huggingface.co/y)\n",
        "[x](https://evil.example)\n",
        "*x*\n",
        "__x__\n",
        "a\x1bb\n",
    ],
    "html": [
        "<html><script></script></html>",
        "<html onclick='x'></html>",
        "<html><a href='javascript:x'>x</a></html>",
        "<html><p></html>",
        "<html></td></html>",
        "<html><!-- x --></html>",
        "<html>\u202e</html>",
    ],
    "csv": ["a,b\n1,2,3\n", "a\n=1\n", "a\n @x\n", "a\n-1\n", "a\n\t=1\n", "a\n\uff1d1\n"],
    "latex": [
        "\\begin{tabular}{@{}l@{}}\n",
        "\\input{x}\n",
        "a_b\n",
        "50%\n",
        "a $x$\n",
        "a&b\n",
        "#1\n",
        "~\n",
    ],
    "json": ['{"a": NaN}', '{"a": 1', '{"a": "\u2028"}'],
    "terminal": ["a\x07\n", "a\x1b]8;;x\n", "\u200b\n", "a\rb\n"],
    "github": ["::error file=a,title=b::c\n::set-output name=x::y\nend\n", "hello\nend\n"],
}


@pytest.mark.parametrize(("form", "text"), [(form, text) for form, texts in BROKEN.items() for text in texts])
def test_broken_output_has_a_fault(form, text):
    assert faults_of(text, form)


@pytest.mark.parametrize("form", FORMATS)
def test_a_table_of_hostile_names_has_no_fault(form):
    assert faults_of(render(table_of(*HOSTILE), form, width=100, colour=True), form) == []


def test_every_format_is_read():
    assert set(FORMS) <= {*BROKEN}
    assert faults_of(to_json({"names": HOSTILE}), "json") == []


@pytest.mark.parametrize("text", ["a\x1b[31m\n", "This is a bug in it\n", "Traceback (most recent)\n", "a\rb"])
def test_a_broken_error_has_a_fault(text):
    assert list(of_errors(text))
    assert not list(of_errors("error: org/name: no\n  Try again.\n"))
