"""Bytes of a config.json -> a mapping, or a sentence that says what they are instead."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vlm_inspect.core.errors import ConfigMissingError, InvalidConfigError

SIZE_LIMIT = 16 * 2**20
"""Bytes of a file. The longest real ones (a class name per label) stay below 1 MiB."""
DEPTH_LIMIT = 64
"""Values inside one another. Real ones nest five deep; what reads them later recurses, with room for this."""
MOST_VALUES = 400_000
"""Values in all. A map of an image's 184,622 words is the longest that is known."""
LONGEST_TEXT = 200_000
"""Characters of a value: a template of chats has some ten thousand."""
LONGEST_KEY = 1_000
"""Characters of a key."""
LARGEST_NUMBER = 2**128
"""Any number, by whatever name. Some keys have 10**30 for "no end"."""

_HINT = 'A config.json is one JSON object: {"model_type": "llava", ...}'
_TOO_LONG = "holds a number that is too long to be one"
_LFS_POINTER = b"version https://git-lfs"


def read_config(path: Path, model: str) -> dict[str, Any]:
    """The configuration in a file. The file's size is looked at before it is read."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ConfigMissingError(
                f"{model}: {path.name} is not a file.", hint="Give a config.json, or its folder.", model=model
            )
        check_size(status.st_size, model)
        return parse_config(path.read_bytes(), model)
    except OSError as error:
        raise ConfigMissingError(
            f"{model}: {path.name} cannot be read: {error.strerror}.",
            hint="Check that it exists and that you may read it.",
            model=model,
        ) from error


def check_size(size: int, model: str) -> None:
    """Refuse what is too long to be a configuration, before it is fetched or read."""
    if size > SIZE_LIMIT:
        raise InvalidConfigError(
            f"{model}: the config.json has {size:,} bytes, and no model's has more than {SIZE_LIMIT:,}.",
            hint="Check that it is a configuration, and not data or weights under that name.",
            model=model,
        )


def parse_config(text: bytes, model: str) -> dict[str, Any]:
    """The configuration that the bytes say. NaN and Infinity are let through, as transformers does."""
    check_size(len(text), model)
    if not text.strip():
        raise InvalidConfigError(f"{model}: the config.json is empty.", hint=_HINT, model=model)
    if text.startswith(_LFS_POINTER):
        raise InvalidConfigError(
            f"{model}: the config.json is a Git LFS pointer, not the file itself.",
            hint="Fetch the file: git lfs pull",
            model=model,
        )
    config = _parse_json(text, model)
    if not isinstance(config, dict):
        raise InvalidConfigError(
            f"{model}: the config.json holds {_name_of(config)}, not an object.", hint=_HINT, model=model
        )
    return config


def _parse_json(text: bytes, model: str) -> Any:
    """Any JSON value, with each way of not being one put in words."""
    cause: Exception
    hint = _HINT
    try:
        value = json.loads(text.decode("utf-8-sig"))
        if b"\\ud" in text or b"\\uD" in text:
            # JSON can spell half a character, and nothing that prints it would survive that.
            json.dumps(value, ensure_ascii=False).encode()
        _check_extent(value)
    except UnicodeEncodeError as error:
        half = error.object[error.start].encode("ascii", "backslashreplace").decode()
        reason, cause = f"holds half a character, {half}", error
        hint = "Write the other half beside it, or take it out."
    except UnicodeError as error:
        reason, cause = "is not UTF-8 text", error
        hint = "Save it as UTF-8: the bytes are of another encoding, or of no text."
    except json.JSONDecodeError as error:
        what = "is an HTML page, not JSON" if text.lstrip().startswith(b"<") else "is not JSON"
        reason, cause = f"{what}: {error.msg} in line {error.lineno}, column {error.colno}", error
    except _TooMuchError as error:
        reason, cause = error.args[0], error
    except ValueError as error:  # a number of thousands of digits
        reason, cause = _TOO_LONG, error
    except RecursionError as error:
        reason, cause = f"is nested more than {DEPTH_LIMIT} deep", error
    else:
        return value
    raise InvalidConfigError(f"{model}: the config.json {reason}.", hint=hint, model=model) from cause


def _check_extent(value: Any) -> None:
    """Refuse what nests too deep or holds too much; level by level, so as not to recurse into it."""
    level, seen = [value], 1
    for _ in range(DEPTH_LIMIT):
        level = [item for parent in level for item in _children(parent)]
        seen += len(level)
        if seen > MOST_VALUES:
            raise _TooMuchError(f"holds more than {MOST_VALUES:,} values")
        for item in level:
            _check_value(item)
        if not level:
            return
    if any(isinstance(item, (dict, list)) for item in level):
        raise RecursionError


def _check_value(value: Any) -> None:
    if isinstance(value, int) and abs(value) > LARGEST_NUMBER:
        raise _TooMuchError(_TOO_LONG)
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        raise _TooMuchError(f"holds a text of {len(value):,} characters, and the limit is {LONGEST_TEXT:,}")


def _children(value: Any) -> Iterable[Any]:
    if not isinstance(value, dict):
        return value if isinstance(value, list) else ()
    longest = max(map(len, value), default=0)
    if longest > LONGEST_KEY:
        raise _TooMuchError(f"holds a key of {longest:,} characters, and the limit is {LONGEST_KEY:,}")
    return value.values()


def _name_of(value: Any) -> str:
    """What JSON calls a value that is not an object."""
    names = {list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


class _TooMuchError(Exception):
    """A value that no configuration has, said as what the file does."""
