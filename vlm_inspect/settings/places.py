"""Where in a file something stands, and errors that say so in the words of TOML."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from vlm_inspect.errors import SettingsError

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
# Enough to find one's way, and no more where a file is hostile.
_LISTED, _SHOWN = 40, 200

_TOML_WORDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "datetime": "a date and time",
    "date": "a date",
    "time": "a time",
}


class Place(Struct, frozen=True):
    """Where in which file something stands, and the errors that say so."""

    path: Path
    key: str = ""

    def at(self, key: str) -> Place:
        """The place of a key in the table that stands here."""
        shown = key[:_SHOWN] if _BARE_KEY.fullmatch(key) else quoted(key)
        return Place(self.path, f"{self.key}.{shown}" if self.key else shown)

    def each(self, values: Collection[Any]) -> Iterator[tuple[Place, Any]]:
        """The items of the list that stands here, each with its place."""
        for index, value in enumerate(values):
            yield Place(self.path, f"{self.key}[{index}]"), value

    def wrong(self, what: str, hint: str = "") -> SettingsError:
        """The error that `what` is said of this place."""
        where = f"{self.path}: {self.key}" if self.key else f"{self.path}"
        return SettingsError(f"{where}: {what}", hint=hint)

    def unknown(self, kind: str, value: str, allowed: Collection[str]) -> SettingsError:
        """The error that a name is none of those allowed."""
        closest = difflib.get_close_matches(value[:_SHOWN], allowed, n=1)
        return self.wrong(
            f"unknown {kind} {quoted(value)}. Allowed: {_listed(allowed)}.",
            hint=f"Did you mean {quoted(closest[0])}?" if closest else "",
        )


def in_toml_words(message: str) -> str:
    """What msgspec says of a value, for those who write TOML and not Python."""
    if missing := re.fullmatch(r"Object missing required field `(\w+)`", message):
        return f"the key {quoted(missing[1])} is missing."
    if "matching regex" in message:
        return "expected text that is not empty and holds no NUL."
    if "of length" in message:
        return "expected a list that is not empty. To take all, leave the key out."
    named = re.sub(r"`([a-z |]+)`", lambda types: _toml_types(types[1]), message)
    return named[:1].lower() + named[1:] + "."


def _toml_types(types: str) -> str:
    names = [_TOML_WORDS.get(name, name) for name in types.split(" | ") if name != "null"]
    return " or ".join(names)


def quoted(text: str) -> str:
    """As TOML writes it, control characters escaped."""
    return json.dumps(text[:_SHOWN])


def _listed(names: Collection[str]) -> str:
    shown = list(names)[:_LISTED]
    more = len(names) - len(shown)
    return (", ".join(shown) or "none") + (f" and {more} more" if more else "")
