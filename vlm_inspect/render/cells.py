"""Cells, tables and rows: the input of every output format, without any markup."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from vlm_inspect.core.errors import VlmInspectError

if TYPE_CHECKING:  # every message on stderr passes through `visible`; records are not needed for it
    from vlm_inspect.core.architecture import Architecture
    from vlm_inspect.core.model_ref import ModelIdentity


class Span(Struct, frozen=True):
    """A piece of raw text with one style; the output formats add the markup."""

    text: str
    code: bool = False
    """Whether it is an identifier: a class, a module path, a model ID."""
    href: str | None = None
    """Link target."""


Cell = tuple[Span, ...]
Line = tuple[str, Cell]
"""A label and its value."""


class Table(Struct, frozen=True):
    """Headers and rows. Every row has as many cells as there are headers."""

    headers: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    title: str = ""
    notes: tuple[str, ...] = ()
    """Sentences below the table."""


class Layout(Struct, frozen=True):
    """The terminal's width and whether it shows colours. Other formats ignore it."""

    width: int = 100
    colour: bool = False


Renderer = Callable[[Sequence[Table], Layout], str]
"""An output format: escaped tables to text that ends with a newline."""

Fact = str | bool | int | float


class Failure(Struct, frozen=True):
    """The error of a model that could not be inspected."""

    type: str
    message: str
    hint: str = ""

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """The type, message and hint of an exception."""
        if isinstance(error, VlmInspectError):
            return cls(type(error).__name__, error.message, error.hint)
        return cls(type(error).__name__, str(error))


class Row(Struct, frozen=True):
    """A model of a table, under its displayed name: its record, or the error instead."""

    name: str
    architecture: Architecture | None = None
    error: Failure | None = None
    facts: Mapping[str, Fact] = field(default_factory=dict)
    """Facts stated by the user, by column ID of the comparison table."""
    model: ModelIdentity | None = None
    """The identity of a model without a record."""


def text(value: str) -> Cell:
    """A cell of plain text."""
    return (Span(value),)


def code(value: str) -> Cell:
    """A cell that holds an identifier."""
    return (Span(value, code=True),)


def link(value: str, href: str) -> Cell:
    """A cell that holds a link."""
    return (Span(value, href=href),)


def concat(*cells: Cell) -> Cell:
    """One cell of several; neighbouring spans of plain text are merged."""
    merged: list[Span] = []
    for span in (span for cell in cells for span in cell):
        if merged and _is_plain_text(span) and _is_plain_text(merged[-1]):
            merged[-1] = Span(merged[-1].text + span.text)
        else:
            merged.append(span)
    return tuple(merged)


def join(cells: Iterable[Cell], separator: str) -> Cell:
    """One cell of several, with a separator between them."""
    parts: list[Cell] = []
    for cell in cells:
        parts += [text(separator), cell] if parts else [cell]
    return concat(*parts)


def plain_text(cell: Cell) -> str:
    """The text of a cell without styles and links."""
    return "".join(span.text for span in cell)


def escape_control_chars(value: str) -> str:
    r"""Escape control characters, terminal escapes, newlines, bidi marks and lone surrogates as \u….

    Names come from files that anyone may have written. With this, no output format has to care.
    """
    if value.isprintable():
        return value
    return "".join(char if char.isprintable() else _unicode_escape(char) for char in value)


def escape_table(table: Table) -> Table:
    """Escape the control characters of all text of a table."""
    return replace(
        table,
        title=escape_control_chars(table.title),
        headers=tuple(map(escape_control_chars, table.headers)),
        rows=tuple(tuple(map(escape_cell, row)) for row in table.rows),
        notes=tuple(map(escape_control_chars, table.notes)),
    )


def escape_cell(cell: Cell) -> Cell:
    """Escape the control characters of a cell."""
    return tuple(replace(span, text=escape_control_chars(span.text)) for span in cell)


def _is_plain_text(span: Span) -> bool:
    return not span.code and span.href is None


def _unicode_escape(char: str) -> str:
    number = ord(char)
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"  # noqa: PLR2004 - four hex digits


def wrap_hanging(value: str, width: int, start: str, *, break_long_words: bool) -> list[str]:
    """Wrap a text into lines; the first begins with `start`, the others are indented as far."""
    return textwrap.wrap(
        value,
        width,
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_long_words=break_long_words,
        break_on_hyphens=False,
    )
