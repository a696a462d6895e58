"""All output of the program: results to stdout or a file, everything else to stderr."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, TextIO

from msgspec import Struct

from vlm_inspect.cli import signals
from vlm_inspect.core.errors import DocumentError, VlmInspectError
from vlm_inspect.render.cells import escape_control_chars

_MIN_WIDTH = 40
_PIPED_WIDTH = 100
# replacements of our own text's characters, for a terminal whose encoding lacks them
_PLAIN = str.maketrans({**dict.fromkeys("█▉▊▋▌▍▎▏", "#"), "…": "...", "—": "--"})


# stands for the model in notes that are compared
_MODEL = "\0"
# each model has its own commit: a note about several models omits it
_COMMIT = re.compile(r", commit [0-9a-f]{7,40}")


class Note(NamedTuple):
    """A note about a model."""

    model: str
    text: str


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
        """Columns of the terminal; a fixed number if the output is not a terminal."""
        if self.file is not None or not sys.stdout.isatty():
            return _PIPED_WIDTH
        return max(_MIN_WIDTH, shutil.get_terminal_size((_PIPED_WIDTH, 24)).columns)

    @property
    def colour(self) -> bool:
        """Whether to print colours: on a terminal that has them, unless NO_COLOR is set (no-color.org)."""
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        return self.file is None and sys.stdout.isatty() and not plain

    def write(self, text: str) -> None:
        """Write the result. Raises DocumentError if it cannot be written."""
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
        """Print a note to stderr, unless quiet."""
        if not self.quiet:
            print_stderr(f"note: {text}")

    def notes(self, notes: Sequence[Note]) -> None:
        """Print notes about several models; the same note about several of them is printed once."""
        for text in dedupe_notes(notes):
            self.note(text)

    def warn(self, text: str) -> None:
        """Print a warning about the result."""
        print_stderr(f"warning: {text}")

    def say(self, text: str) -> None:
        """Print what the command did, unless quiet."""
        if not self.quiet:
            print_stderr(text)

    def errors(self, failed: Iterable[tuple[str, str, str]]) -> None:
        """Print (model, message, hint) of the models that failed; what is the same for several is printed once."""
        groups: dict[tuple[str, str], dict[str, None]] = {}
        for model, message, hint in failed:
            groups.setdefault((message, hint), {})[model] = None
        for (message, hint), models in groups.items():
            subject = next(iter(models)) if len(models) == 1 else f"{len(models)} models"
            report(VlmInspectError(message, hint=hint, model=subject))


def dedupe_notes(notes: Sequence[Note]) -> Iterator[str]:
    """Each note once, with all of its models."""
    groups: dict[str, list[Note]] = {}
    for note in notes:
        groups.setdefault(_COMMIT.sub("", _name(note.model).sub(_MODEL, note.text)), []).append(note)
    for text, group in groups.items():
        models = list(dict.fromkeys(note.model for note in group))
        yield group[0].text if len(models) == 1 else _plural(text, models)


def _plural(text: str, models: Sequence[str]) -> str:
    return text.replace(f"{_MODEL} is ", f"{len(models)} models are ").replace(_MODEL, ", ".join(models))


def report(error: VlmInspectError) -> None:
    """Print an error: what happened, to which model, and what to type next."""
    print_stderr(f"error: {_subject(error)}{error.message}")
    if error.hint:
        print_stderr(f"  {error.hint}")


def _subject(error: VlmInspectError) -> str:
    """The model, if the message does not name it."""
    return f"{error.model}: " if error.model and not _name(error.model).search(error.message) else ""


def _name(model: str) -> re.Pattern[str]:
    """A model's name, but not as a part of a path or an address."""
    return re.compile(rf"(?<![\w/]){re.escape(model)}(?![\w/])")


def print_stderr(text: str) -> None:
    """Print lines to stderr. Control characters are escaped: a repository must not steer a terminal."""
    with suppress(OSError):  # stderr is closed: the exit code remains
        _write(sys.stderr, "".join(f"{escape_control_chars(line)}\n" for line in text.split("\n")))


def unwritable(error: OSError) -> DocumentError:
    """Return the error for a stdout that cannot be written, and discard what is still buffered for it."""
    detach_stdout()
    return DocumentError(
        f"standard output could not be written: {error.strerror or error}.",
        hint="Write to a file instead: --output FILE",
    )


def detach_stdout() -> None:
    """Discard what is still buffered for stdout."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _write(stream: TextIO, text: str) -> None:
    """Write in the terminal's encoding, with escapes for what it lacks; to pipes and files in UTF-8.

    So a pipe or a file gets the same bytes under every locale.
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


@contextmanager
def progress(total: int, *, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Yield a function to call with the name of each model that is done.

    Nothing is drawn for one model, with `quiet`, or if stderr is not a terminal that can move its cursor.
    """
    if quiet or total < 2 or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":  # noqa: PLR2004
        yield lambda _: None
        return
    from rich.console import Console
    from rich.control import Control
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.segment import ControlType

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}", markup=False))
    restore = Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2), ControlType.SHOW_CURSOR)
    with (
        signals.progress_bar(str(restore)),
        Progress(*columns, console=Console(stderr=True), transient=True) as bar,
    ):
        task = bar.add_task("models", total=total)
        yield lambda name: bar.update(task, advance=1, description=escape_control_chars(name))
