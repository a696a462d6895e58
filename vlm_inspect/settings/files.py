"""The files of a configuration: what they are called, and how they are read as TOML."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlm_inspect.errors import SettingsError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]

__all__ = [
    "OWN_NAME",
    "PYPROJECT",
    "SECTION",
    "absolute",
    "is_path",
    "parse",
    "section_of",
    "tomllib",
]

OWN_NAME = "vlm-inspect.toml"
PYPROJECT = "pyproject.toml"
SECTION = "tool.vlm-inspect"

LARGEST_FILE = 2**20
"""Bytes of a configuration."""
MOST_DOTS = 64
"""Dots in one line, but for texts and comments: a key of so many parts nests as deep, and takes the square of
their number to read."""

# one that does not end, ends with its line: to look for its end at every quote takes for ever
_TEXTS = re.compile(r"\"(?:[^\"\\\n]|\\.)*\"?|'[^'\n]*'?|#[^\n]*")
_PATH_STARTS = ("./", "../", "/", "~", ".\\", "..\\")


def absolute(start: Path) -> Path:
    """The path from the root, with no link resolved."""
    try:
        return start.absolute()
    except OSError as error:
        raise SettingsError(
            "the working directory no longer exists.", hint="Change to a folder that does."
        ) from error


def is_path(name: str, root: Path) -> bool:
    """Whether the name of a model is that of a file or folder, as `root` has it."""
    return name.startswith(_PATH_STARTS) or name.endswith(".json") or _exists(root / name)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that no path can have
        return False


def parse(path: Path) -> dict[str, Any]:
    """The TOML of a file."""
    text = _read_text(path)
    _check_dots(path, text)
    try:
        data: dict[str, Any] = tomllib.loads(text)
    except ValueError as error:
        raise SettingsError(f"{path} is not valid TOML: {_with_place(error, text)}.") from error
    except RecursionError as error:
        raise SettingsError(f"{path} is not a configuration: it is nested too deeply.") from error
    return data


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise SettingsError(f"{path} has more than {LARGEST_FILE:,} bytes, and no configuration has.")
        # Some editors of Windows put a byte order mark in front.
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not UTF-8.", hint=f"Save {path} as UTF-8.") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"{str(path)!r} could not be read: {reason}.") from error


def _check_dots(path: Path, text: str) -> None:
    for number, line in enumerate(_TEXTS.sub("", text).split("\n"), start=1):
        if line.count(".") > MOST_DOTS:
            raise SettingsError(f"{path}, line {number}: a key has more than {MOST_DOTS} parts.")


def _with_place(error: ValueError, text: str) -> str:
    """What the parser says, with line and column at the file's end, too."""
    lines = text.split("\n")
    return str(error).replace("at end of document", f"at line {len(lines)}, column {len(lines[-1]) + 1}")


def section_of(pyproject: Mapping[str, Any]) -> Any:
    """The `[tool.vlm-inspect]` of a pyproject.toml, of whatever type; None where there is none."""
    tool = pyproject.get("tool")
    return tool.get("vlm-inspect") if isinstance(tool, dict) else None
