"""The one place that writes: answers to stdout or a file, everything else to stderr."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TextIO

from msgspec import Struct

from vlm_inspect.cli import signals
from vlm_inspect.core.errors import DocumentError, VlmInspectError
from vlm_inspect.render.cells import visible

_MODEL = "\0"
# every model has a commit of its own, which a sentence about all of them leaves out
_COMMIT = re.compile(r", commit [0-9a-f]{7,40}")


class Note(NamedTuple):
    """A sentence about a model."""

    model: str
    text: str


def dedupe_notes(notes: Sequence[Note]) -> Iterator[str]:
    """Each sentence once, in the order of its first note, with the number of its models."""
    groups: dict[str, list[Note]] = {}
    for note in notes:
        groups.setdefault(_COMMIT.sub("", note.text.replace(note.model, _MODEL)), []).append(note)
    for sentence, group in groups.items():
        models = list(dict.fromkeys(note.model for note in group))
        yield group[0].text if len(models) == 1 else _of_several(sentence, models)


def _of_several(sentence: str, models: Sequence[str]) -> str:
    counted = f"{len(models)} models"
    return sentence.replace(f"{_MODEL} is ", f"{counted} are ").replace(_MODEL, ", ".join(models))


_NARROWEST = 40
_PIPED_WIDTH = 100
# what our own text holds beyond ASCII, for a terminal that has no more
_PLAIN = str.maketrans({**dict.fromkeys("█▉▊▋▌▍▎▏", "#"), "…": "...", "—": "--"})


class Output(Struct, frozen=True):
    """Where a command writes, and in which format."""

    format: str
    file: Path | None = None
    quiet: bool = False
    is_format_given: bool = False

    @classmethod
    def choose(cls, format: str | None, file: Path | None, *, quiet: bool) -> Output:
        """The given format; by default `terminal` in a terminal, `markdown` elsewhere."""
        to_terminal = file is None and sys.stdout.isatty()
        default = "terminal" if to_terminal else "markdown"
        return cls(format or default, file, quiet, is_format_given=format is not None)

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
        """The answer. Raises DocumentError where it cannot be written."""
        signals.check()
        data = text if text.endswith("\n") else text + "\n"
        if self.file is not None:
            from vlm_inspect.storage.atomic import write_file

            write_file(self.file, data.encode("utf-8"))
            return
        try:
            _write(sys.stdout, data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise unwritable(error) from error

    def note(self, text: str) -> None:
        """What the user should know beside the answer."""
        if not self.quiet:
            print_stderr(f"note: {text}")

    def notes(self, notes: Sequence[Note]) -> None:
        """As `note`, of several models: what is said of more than one is said once."""
        for text in dedupe_notes(notes):
            self.note(text)

    def warn(self, text: str) -> None:
        """What may be wrong with the answer."""
        print_stderr(f"warning: {text}")

    def say(self, text: str) -> None:
        """What was done, where that is no answer on stdout."""
        if not self.quiet:
            print_stderr(text)

    def error(self, model: str, message: str, hint: str) -> None:
        """Why one model of several was not answered."""
        report(VlmInspectError(message, hint=hint, model=model))


def report(error: VlmInspectError) -> None:
    """An error as a user reads it: what happened, to which model, and what to type next."""
    print_stderr(f"error: {_subject(error)}{error.message}")
    if error.hint:
        print_stderr(f"  {error.hint}")


def _subject(error: VlmInspectError) -> str:
    """The model, where the message does not name it."""
    is_named = re.search(rf"(?<![\w/]){re.escape(error.model)}(?![\w/])", error.message)
    return f"{error.model}: " if error.model and not is_named else ""


def print_stderr(text: str) -> None:
    """A line on stderr, without what could steer a terminal: a repo's words are a stranger's."""
    with suppress(OSError):  # nobody listens; the exit code tells
        _write(sys.stderr, "".join(f"{visible(line)}\n" for line in text.split("\n")))


def unwritable(error: OSError) -> DocumentError:
    """Standard output cannot take the answer. What is left of it must not be tried again at the exit."""
    detach_stdout()
    return DocumentError(
        f"standard output could not be written: {error.strerror or error}.",
        hint="Write the answer elsewhere: --output FILE",
    )


def detach_stdout() -> None:
    """Let what is still buffered for standard output go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _write(stream: TextIO, text: str) -> None:
    """A terminal's own encoding on a terminal, with escapes for what it lacks; everywhere else UTF-8.

    So a pipe or file gets the same bytes under every locale.
    """
    stream.flush()
    buffer = getattr(stream, "buffer", None)
    if buffer is not None and not stream.isatty():
        buffer.write(text.encode("utf-8", "backslashreplace"))
    else:
        encoding = stream.encoding or "utf-8"
        stream.write(_encodable(text, encoding).encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def _encodable(text: str, encoding: str) -> str:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_PLAIN)
    return text
