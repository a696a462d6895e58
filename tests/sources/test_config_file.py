"""Files that are not a configuration: each is a clear error, without delay."""

import os

import pytest

from vlm_inspect.core.errors import ConfigMissingError, InvalidConfigError
from vlm_inspect.sources.config_file import SIZE_LIMIT, parse_config, read_config

DEEP = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
MALFORMED = {
    "empty": (b"", "is empty"),
    "blank": (b" \n\t", "is empty"),
    "text": (b"model_type: llava", "is not JSON: Expecting value in line 1, column 1"),
    "cut short": (b'{"model_type": "lla', "is not JSON"),
    "two objects": (b"{}{}", "is not JSON: Extra data"),
    "a list": (b"[1, 2]", "holds a list, not an object"),
    "a string": (b'"llava"', "holds a string"),
    "a number": (b"7", "holds a number"),
    "null": (b"null", "holds null"),
    "true": (b"true", "holds true or false"),
    "not UTF-8": (b'{"model_type": "\xff\xfe"}', "is not UTF-8"),
    "UTF-16": ('{"model_type": "llava"}'.encode("utf-16"), "is not UTF-8"),
    "half a character": (b'{"model_type": "\\ud800"}', "holds half a character, \\ud800"),
    "HTML": (b"<!DOCTYPE html><html>Sign in</html>", "is an HTML page"),
    "an LFS pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n",
        "Git LFS pointer",
    ),
    "nested beyond Python": (DEEP, "is nested more than 64 deep"),
    "nested beyond reason": (b'{"a":' * 65 + b"1" + b"}" * 65, "is nested more than 64 deep"),
    "5000 digits": (b'{"vocab_size": ' + b"9" * 5000 + b"}", "a number that is too long"),
    "40 digits": (b'{"bos_token_id": -' + b"9" * 40 + b"}", "a number that is too long"),
    "long text": (b'{"name": "' + b"x" * 200_001 + b'"}', "a text of 200,001 characters"),
    "long key": (b'{"a": [{"' + b"x" * 1_001 + b'": 1}]}', "a key of 1,001 characters"),
    "too many values": (b'{"a": [' + b"[0]," * 200_000 + b"0]}", "holds more than 400,000 values"),
    "too long": (b"[" + b"0," * (SIZE_LIMIT // 2) + b"0]", "the limit is 16,777,216"),
}


def test_hint_for_another_encoding_is_utf_8():
    with pytest.raises(InvalidConfigError) as caught:
        parse_config(*MALFORMED["UTF-16"][:1], "org/name")
    assert caught.value.hint.startswith("Save it as UTF-8")


@pytest.mark.parametrize(("text", "sentence"), MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_file_is_an_error_with_the_reason(text, sentence):
    with pytest.raises(InvalidConfigError) as caught:
        parse_config(text, "org/name")

    assert sentence in caught.value.message
    assert caught.value.message.startswith("org/name: ")
    assert caught.value.model == "org/name"
    assert caught.value.hint


def test_byte_order_mark_is_allowed():
    assert parse_config(b'\xef\xbb\xbf{"model_type": "llava"}', "org/name") == {"model_type": "llava"}


def test_nan_is_allowed():
    assert str(parse_config(b'{"scale": NaN}', "org/name")["scale"]) == "nan"


def test_escaped_surrogate_pair_is_one_character():
    assert parse_config(b'{"name": "\\ud83e\\udd99"}', "org/name") == {"name": "\N{LLAMA}"}


def test_nesting_up_to_the_limit_is_allowed():
    assert parse_config(b'{"a":' * 64 + b"1" + b"}" * 64, "org/name")


def test_file_of_100_mb_is_not_read(tmp_path):
    path = tmp_path / "config.json"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    path.chmod(0o000)  # reading it would fail in another way

    with pytest.raises(InvalidConfigError, match="has 100,000,000 bytes"):
        read_config(path, "org/name")


def test_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "config.json")

    with pytest.raises(ConfigMissingError, match="is not a file"):
        read_config(tmp_path / "config.json", "org/name")


def test_missing_file_is_an_error(tmp_path):
    with pytest.raises(ConfigMissingError, match="cannot be read: No such file"):
        read_config(tmp_path / "config.json", "org/name")
