"""Bytes of a config.json -> a mapping, or a sentence that says what they are instead."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vlm_inspect.errors import ConfigMissingError, InvalidConfigError

# The longest real configurations (a class name per label) stay below 1 MiB.
SIZE_LIMIT = 16 * 2**20
# Real configurations nest five deep. What reads them later recurses, with room for this and no more.
_DEPTH_LIMIT = 64

_HINT = 'A config.json is one JSON object: {"model_type": "llava", ...}'
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
    try:
        value = json.loads(text.decode("utf-8-sig"))
        if b"\\ud" in text or b"\\uD" in text:
            # JSON can spell half a character, and nothing that prints it would survive that.
            json.dumps(value, ensure_ascii=False).encode()
        _check_depth(value)
    except UnicodeError as error:
        reason, cause = "is not UTF-8 text", error
    except json.JSONDecodeError as error:
        what = "is an HTML page, not JSON" if text.lstrip().startswith(b"<") else "is not JSON"
        reason, cause = f"{what}: {error.msg} in line {error.lineno}, column {error.colno}", error
    except ValueError as error:  # a number of thousands of digits
        reason, cause = "holds a number that is too long to be one", error
    except RecursionError as error:
        reason, cause = f"is nested more than {_DEPTH_LIMIT} deep", error
    else:
        return value
    raise InvalidConfigError(f"{model}: the config.json {reason}.", hint=_HINT, model=model) from cause


def _check_depth(value: Any) -> None:
    """Raise RecursionError where a value nests too deep; level by level, so as not to recurse into it."""
    level = [value]
    for _ in range(_DEPTH_LIMIT):
        level = [item for parent in level for item in _children(parent) if isinstance(item, (dict, list))]
        if not level:
            return
    raise RecursionError


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _name_of(value: Any) -> str:
    """What JSON calls a value that is not an object."""
    names = {list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
