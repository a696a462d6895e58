"""Parse a config.json within limits, with an error for each way in which a file is not a configuration."""

from __future__ import annotations

import json
import math
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from vlm_inspect.core.checkpoint import Checkpoint
from vlm_inspect.core.errors import ConfigMissingError, InvalidConfigError
from vlm_inspect.core.model_ref import ModelIdentity, ModelRef
from vlm_inspect.sources.safetensors import is_part_of_checkpoint

SIZE_LIMIT = 16 * 2**20  # bytes of a file; published ones stay below 1 MiB
DEPTH_LIMIT = 64  # published ones nest five deep; later readers are recursive, with room for this depth
MOST_VALUES = 400_000  # values in total; the longest known map has 184,622 entries
LONGEST_TEXT = 200_000  # characters of a value: chat templates have about ten thousand
LONGEST_KEY = 1_000  # characters of a key
LARGEST_NUMBER = 2**128  # any number; some keys have 10**30 for "unlimited"

CONFIG = "config.json"
WEIGHTS = ".safetensors"
ORIGINAL_HINT = "Name the repo or folder of the original model, in the format of transformers."
"""What to do with a model in another format."""
_HINT = 'A config.json is one JSON object: {"model_type": "llava", ...}'
_TOO_LONG = "holds a number that is too long"
# transformers writes the floats that JSON does not have as {"__float__": "Infinity"}
_FLOAT_TAG = "__float__"
_TAGGED_FLOATS = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}
_LFS_POINTER = b"version https://git-lfs"


def load(ref: ModelRef) -> Checkpoint:
    """Load the configuration at a path. Raises ConfigMissingError or InvalidConfigError."""
    if ref.path is None:
        raise ValueError(f"{ref.name} is not a path")
    path = ref.path
    if path.suffix == WEIGHTS and path.is_file():  # with its configuration, if that is in the same folder
        sibling = path.parent / CONFIG
        config = read_config(sibling, ref.name) if sibling.is_file() else {}
        name = path.resolve().parent.name if is_part_of_checkpoint(path.name) else path.stem
        return Checkpoint(ModelIdentity(name, source="local"), config)
    if path.suffix == ".gguf" and path.is_file():
        message = f"{ref.name} is a GGUF file, the format of llama.cpp."
        raise ConfigMissingError(message, hint=ORIGINAL_HINT, model=ref.name)
    config = read_config(_config_path(path, ref.name), ref.name)
    folder = path.resolve()  # the path on this machine is not recorded, only its last part
    if folder.is_dir():
        name = folder.name or CONFIG
    else:
        name = folder.parent.name or folder.stem if path.name == CONFIG else path.stem
    return Checkpoint(ModelIdentity(name, source="local"), config)


def from_object(config: Any) -> Checkpoint:
    """Return a configuration that a program has: a dict, or an object of a configuration class of transformers.

    It is read as if it were saved. Raises InvalidConfigError.
    """
    is_mapping = isinstance(config, Mapping)
    name = config.get("_name_or_path") if is_mapping else getattr(config, "name_or_path", None)
    name = name if isinstance(name, str) and name else "configuration" if is_mapping else type(config).__name__
    try:
        text = json.dumps(dict(config)) if is_mapping else config.to_json_string()
        return Checkpoint(ModelIdentity(name, source="local"), parse_config(text.encode(), name))
    except (TypeError, ValueError, RecursionError, UnicodeError) as error:
        hint = "A configuration holds texts, numbers, lists and objects."
        raise InvalidConfigError(f"{name}: it cannot be written as JSON: {error}.", hint=hint, model=name) from error


def _config_path(path: Path, typed: str) -> Path:
    try:
        if path.is_dir():
            path = path / CONFIG
            message = "the folder has no config.json"
            hint = "Use the folder where the model was saved: it contains config.json and the weights."
        else:
            message = "there is no such file or folder"
            hint = "Check the path. Models on the Hub are written org/name, without ./ or .json."
        if path.exists():
            return path
    except OSError as error:  # a folder without permission, a name that is too long
        raise ConfigMissingError(
            f"{typed}: cannot be read: {error.strerror}.",
            hint="Check the path and its permissions.",
            model=typed,
        ) from error
    raise ConfigMissingError(f"{typed}: {message}.", hint=hint, model=typed)


def read_config(path: Path, model: str) -> dict[str, Any]:
    """Read a configuration, after a check of its size. Raises ConfigMissingError or InvalidConfigError."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ConfigMissingError(
                f"{model}: {path.name} is not a file.", hint="Use a config.json, or its folder.", model=model
            )
        check_size(status.st_size, model)
        return parse_config(path.read_bytes(), model)
    except OSError as error:
        raise ConfigMissingError(
            f"{model}: {path.name} cannot be read: {error.strerror}.",
            hint="Check that it exists and that you can read it.",
            model=model,
        ) from error


def check_size(size: int, model: str) -> None:
    """Raise InvalidConfigError for a file that is too long, before it is downloaded or read."""
    if size > SIZE_LIMIT:
        hint = "Check that it is a configuration, not data or weights under that name."
        raise _invalid(model, f"has {size:,} bytes; the limit is {SIZE_LIMIT:,}", hint)


def parse_config(text: bytes, model: str) -> dict[str, Any]:
    """Parse a configuration. As in transformers, NaN and Infinity are allowed, also tagged.

    Raises InvalidConfigError.
    """
    check_size(len(text), model)
    if not text.strip():
        raise _invalid(model, "is empty")
    if text.startswith(_LFS_POINTER):
        raise _invalid(model, "is a Git LFS pointer, not the file itself", "Download the file: git lfs pull")
    config = _parse_json(text, model)
    if isinstance(config, dict):
        return config
    kinds = {list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    raise _invalid(model, f"holds {kinds.get(type(config), 'a number')}, not an object")


def _invalid(model: str, what: str, hint: str = _HINT) -> InvalidConfigError:
    return InvalidConfigError(f"{model}: the config.json {what}.", hint=hint, model=model)


def _parse_json(text: bytes, model: str) -> Any:
    cause: Exception
    hint = _HINT
    try:
        value = json.loads(text.decode("utf-8-sig"), object_hook=_decode_float)
        if b"\\ud" in text or b"\\uD" in text:
            # an escaped half of a surrogate pair cannot be printed
            json.dumps(value, ensure_ascii=False).encode()
        _check_extent(value)
    except UnicodeEncodeError as error:
        half = error.object[error.start].encode("ascii", "backslashreplace").decode()
        reason, cause = f"holds half a character, {half}", error
        hint = "Add the other half of the surrogate pair, or remove it."
    except UnicodeError as error:
        reason, cause = "is not UTF-8 text", error
        hint = "Save it as UTF-8."
    except json.JSONDecodeError as error:
        what = "is an HTML page, not JSON" if text.lstrip().startswith(b"<") else "is not JSON"
        reason, cause = f"{what}: {error.msg} in line {error.lineno}, column {error.colno}", error
    except _LimitError as error:
        reason, cause = error.args[0], error
    except ValueError as error:  # a number of thousands of digits
        reason, cause = _TOO_LONG, error
    except RecursionError as error:
        reason, cause = f"is nested more than {DEPTH_LIMIT} deep", error
    else:
        return value
    raise _invalid(model, reason, hint) from cause


def _decode_float(value: dict[str, Any]) -> Any:
    """The float of a tag, as transformers decodes it; any other object as it is."""
    tag = value.get(_FLOAT_TAG)
    return _TAGGED_FLOATS.get(tag, value) if len(value) == 1 and isinstance(tag, str) else value


def _check_extent(value: Any) -> None:
    """Check nesting and the number of values, level by level: recursion could exceed Python's limit."""
    level, count = [value], 1
    for _ in range(DEPTH_LIMIT):
        level = [item for parent in level for item in _children(parent)]
        count += len(level)
        if count > MOST_VALUES:
            raise _LimitError(f"holds more than {MOST_VALUES:,} values")
        for item in level:
            if isinstance(item, int) and abs(item) > LARGEST_NUMBER:
                raise _LimitError(_TOO_LONG)
            if isinstance(item, str) and len(item) > LONGEST_TEXT:
                raise _LimitError(f"holds a text of {len(item):,} characters; the limit is {LONGEST_TEXT:,}")
        if not level:
            return
    if any(isinstance(item, (dict, list)) for item in level):
        raise RecursionError


def _children(value: Any) -> Iterable[Any]:
    if not isinstance(value, dict):
        return value if isinstance(value, list) else ()
    longest = max(map(len, value), default=0)
    if longest > LONGEST_KEY:
        raise _LimitError(f"holds a key of {longest:,} characters; the limit is {LONGEST_KEY:,}")
    return value.values()


class _LimitError(Exception):
    """A value beyond a limit. The message continues "the config.json …"."""
