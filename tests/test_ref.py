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


ADDRESSES = {
    "https://huggingface.co/org/name": None,
    "http://huggingface.co/org/name/": None,
    "HTTPS://HuggingFace.co/org/name?library=transformers#usage": None,
    "huggingface.co/org/name": None,
    "hf.co/org/name": None,
    "https://huggingface.co/org/name/tree/v1.0": "v1.0",
    "https://huggingface.co/org/name/tree/refs%2Fpr%2F3": "refs/pr/3",
    "https://huggingface.co/org/name/blob/main/config.json": "main",
    "https://huggingface.co/org/name/resolve/main/model-00001-of-00003.safetensors?download=true": "main",
    "hf://org/name": None,
    "hf://models/org/name": None,
    "hf://org/name@dev": "dev",
    "hf://org/name@refs/pr/3/config.json": "refs/pr/3",
    "https://mirror.example/hub/org/name/tree/dev": "dev",
}


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_of_the_hub_names_its_model(address, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example/hub")
    assert ModelRef.parse(address) == ModelRef("org/name", ADDRESSES[address])


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("https://huggingface.co/datasets/org/name", "is a dataset, not a model."),
        ("hf://spaces/org/name", "is a space, not a model."),
        ("https://huggingface.co/org", "is not the address of a model on the Hub."),
        ("https://example.com/org/name", "is not the address of a model on the Hub."),
        ("ftp://huggingface.co/org/name", "is not the address of a model on the Hub."),
        ("hf://", "is not the address of a model on the Hub."),
        ("hf://org/name@dev/unet/config.json", "is in the folder 'unet' of its repository"),
        (
            "https://huggingface.co/org/name/tree/main/text_encoder",
            "is in the folder 'text_encoder' of its repository",
        ),
        ("https://huggingface.co/" + "x" * 100_000, "is not the address of a model on the Hub."),
    ],
)
def test_another_address_is_a_short_error(address, message):
    with pytest.raises(InvalidReferenceError) as caught:
        ModelRef.parse(address)
    assert message in caught.value.message
    assert caught.value.hint
    assert len(caught.value.message + caught.value.hint) < 1_000


def test_an_address_and_a_revision_must_agree():
    assert ModelRef.parse("hf://org/name", "dev").revision == "dev"
    with pytest.raises(InvalidReferenceError, match="names revision 'main', and --revision says 'dev'"):
        ModelRef.parse("https://huggingface.co/org/name/tree/main", "dev")
