"""Names of models: how they are parsed, and errors for invalid ones."""

import pytest

from vlm_inspect.core.errors import InvalidReferenceError
from vlm_inspect.core.model_ref import ModelRef, is_hub_id

NEITHER = {
    "nothing": "",
    "a space": " ",
    "NUL": "org/na\0me",
    "a line end": "org/name\n",
    "a way up": "org/../../etc/passwd",
    "the folder above, as a repo": "org/..",
    "two at signs": "org/name@a@b",
    "no revision": "org/name@",
    "two dashes": "org--x/name",
    "three parts": "a/b/c",
    "an address": "https://huggingface.co/org/name",
    "no home": "~no_such_user_/model",
    "a Cyrillic letter": "\u043erg/name",
    "no width": "org/na\u200bme",
    "the wrong way round": "org/\u202ename",
    "letters of another width": "\uff4frg/name",
    "half a character": "org/\ud800",
    "no end": "x" * 100_000,
    "no end, with a slash": "x/" * 50_000,
    "no end, of another alphabet": "\u0430" * 100_000,
}


@pytest.mark.parametrize("text", NEITHER.values(), ids=NEITHER)
def test_an_invalid_name_is_a_short_error(text):
    with pytest.raises(InvalidReferenceError) as caught:
        ModelRef.parse(text)
    assert "is neither a model on the Hub nor a path that exists." in caught.value.message
    assert len(caught.value.message) < 2_500
    assert caught.value.message.isprintable()
    assert caught.value.hint
    assert not is_hub_id(text)


@pytest.mark.parametrize("text", ["~no_such_user_/model", "\u043erg/name", "org/na\u200bme", "org/\u202ename"])
def test_the_first_non_ascii_character_is_named(text):
    with pytest.raises(InvalidReferenceError) as caught:
        ModelRef.parse(text)
    foreign = next((char for char in text if not char.isascii()), None)
    assert (f"U+{ord(foreign):04X}" in caught.value.hint) if foreign else ("org/name" in caught.value.hint)


@pytest.mark.parametrize("text", ["/etc", "../x", "~/x", "x/config.json", "./org/name"])
def test_a_path_is_not_a_hub_id(text):
    assert ModelRef.parse(text).path is not None
    assert not is_hub_id(text)


@pytest.mark.parametrize("text", ["org/name", "gpt2", "CON", "a.b/c-d_e"])
def test_a_hub_id_is_one_even_if_a_path_of_that_name_exists(text, tmp_path, monkeypatch):
    (tmp_path / text).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert ModelRef.parse(text).path is not None
    assert is_hub_id(text)


def test_the_error_for_a_long_revision_is_short():
    with pytest.raises(InvalidReferenceError) as caught:
        ModelRef.parse("org/name@" + "x" * 100_000, "main")
    assert len(caught.value.message + caught.value.hint) < 1_000
