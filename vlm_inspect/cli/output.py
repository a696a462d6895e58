"""The one place that writes: answers to stdout or a file, everything else to stderr."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from vlm_inspect.cli.options import Format
from vlm_inspect.documents import write_atomically
from vlm_inspect.errors import VlmInspectError

_NARROWEST = 40
_PIPED_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Output:
    """Where an answer goes and how it looks there."""

    format: Format
    file: Path | None = None
    quiet: bool = False

    @classmethod
    def choose(cls, stated: Format | None, file: Path | None, *, quiet: bool) -> Output:
        """`terminal` on a terminal, `markdown` elsewhere, unless the user says otherwise."""
        to_terminal = file is None and sys.stdout.isatty()
        return cls(stated or (Format.TERMINAL if to_terminal else Format.MARKDOWN), file, quiet)

    @property
    def width(self) -> int:
        """Columns to lay a terminal's text out for; fixed where there is no terminal."""
        if self.file is not None or not sys.stdout.isatty():
            return _PIPED_WIDTH
        return max(_NARROWEST, shutil.get_terminal_size((_PIPED_WIDTH, 24)).columns)

    @property
    def colour(self) -> bool:
        """On a terminal that can, unless NO_COLOR is set (no-color.org)."""
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        return self.file is None and sys.stdout.isatty() and not plain

    def write(self, text: str) -> None:
        """The answer."""
        data = text if text.endswith("\n") else text + "\n"
        if self.file is not None:
            write_atomically(self.file, data.encode("utf-8"))
            return
        _write_utf8(sys.stdout, data)

    def note(self, text: str) -> None:
        """What the user should know beside the answer."""
        if not self.quiet:
            say(f"note: {text}")

    def warn(self, text: str) -> None:
        """What may be wrong with the answer."""
        say(f"warning: {text}")

    def say(self, text: str) -> None:
        """What was done, where that is no answer on stdout."""
        if not self.quiet:
            say(text)

    def error(self, model: str, message: str, hint: str) -> None:
        """Why one model of several was not answered."""
        report(VlmInspectError(message, hint=hint, model=model))


def report(error: VlmInspectError) -> None:
    """An error as a user reads it: what happened, to which model, and what to type next."""
    subject = f"{error.model}: " if error.model and error.model not in error.message else ""
    say(f"error: {subject}{error.message}")
    if error.hint:
        say(f"  {error.hint}")


def say(text: str) -> None:
    """A line on stderr."""
    _write_utf8(sys.stderr, f"{printable(text)}\n")


def printable(text: str) -> str:
    """Without what could steer a terminal; a repo's words are a stranger's."""
    return "".join(char if char.isprintable() or char == "\n" else f"\\x{ord(char):02x}" for char in text)


def _write_utf8(stream: TextIO, text: str) -> None:
    """Also where the stream cannot write every character: those are then written as escapes."""
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()
