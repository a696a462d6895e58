"""Cells and tables: what every format lays out, and nothing of how it looks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from vlm_inspect.core.errors import VlmInspectError

if TYPE_CHECKING:  # every message on stderr passes through `visible`; records are not needed for it
    from vlm_inspect.core.architecture import Architecture
    from vlm_inspect.core.model_ref import ModelIdentity


class Span(Struct, frozen=True):
    """A run of text of one sort. It is raw: only a format turns it into markup."""

    text: str
    code: bool = False
    """Whether it is a name in code: a class, a path, a model's id."""
    href: str | None = None
    """Where it links to."""


Cell = tuple[Span, ...]


class Table(Struct, frozen=True):
    """Rows of cells under headers. Every row is as long as the headers."""

    headers: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    title: str = ""
    notes: tuple[str, ...] = ()
    """Sentences that belong below the table."""


def text(value: str) -> Cell:
    """Plain words."""
    return (Span(value),)


def code(value: str) -> Cell:
    """A name in code."""
    return (Span(value, code=True),)


def link(value: str, href: str) -> Cell:
    """Words that link somewhere."""
    return (Span(value, href=href),)


def concat(*cells: Cell) -> Cell:
    """Cells as one, neighbouring plain words made one span."""
    merged: list[Span] = []
    for span in (span for cell in cells for span in cell):
        if merged and _is_plain(span) and _is_plain(merged[-1]):
            merged[-1] = Span(merged[-1].text + span.text)
        else:
            merged.append(span)
    return tuple(merged)


def join(cells: Iterable[Cell], separator: str) -> Cell:
    """Cells as one, with words between them."""
    parts: list[Cell] = []
    for cell in cells:
        parts += [text(separator), cell] if parts else [cell]
    return concat(*parts)


def plain(cell: Cell) -> str:
    """The cell's text alone."""
    return "".join(span.text for span in cell)


def visible(value: str) -> str:
    r"""Text in which every character can be seen.

    Names come from files that anyone may have written. Control characters, terminal escapes, line
    ends, text-direction marks and lone surrogates become \u escapes: no format has to think of them.
    """
    if value.isprintable():
        return value
    return "".join(char if char.isprintable() else _escaped(char) for char in value)


def made_visible(table: Table) -> Table:
    """The table with all its text made visible."""
    return replace(
        table,
        title=visible(table.title),
        headers=tuple(visible(header) for header in table.headers),
        rows=tuple(tuple(_visible_cell(cell) for cell in row) for row in table.rows),
        notes=tuple(visible(note) for note in table.notes),
    )


def _visible_cell(cell: Cell) -> Cell:
    return tuple(replace(span, text=visible(span.text)) for span in cell)


def _is_plain(span: Span) -> bool:
    return not span.code and span.href is None


def _escaped(char: str) -> str:
    number = ord(char)
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"  # noqa: PLR2004 - four hex digits hold no more


class Layout(Struct, frozen=True):
    """A terminal's width, and whether it shows colours. Files have neither."""

    width: int = 100
    colour: bool = False


Renderer = Callable[[Sequence[Table], Layout], str]
"""A format: tables whose text is all visible, to text that ends with a line end."""


Fact = str | bool | int | float


class Failure(Struct, frozen=True):
    """Why a model could not be answered."""

    type: str
    message: str
    hint: str = ""

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """What an exception says."""
        if isinstance(error, VlmInspectError):
            return cls(type(error).__name__, error.message, error.hint)
        return cls(type(error).__name__, str(error))


class Row(Struct, frozen=True):
    """A model under the name that is shown for it: its record, or why there is none."""

    name: str
    architecture: Architecture | None = None
    error: Failure | None = None
    facts: Mapping[str, Fact] = field(default_factory=dict)
    """What the user states of it, by the ids of the comparison's columns."""
    model: ModelIdentity | None = None
    """Which model it is, where there is no record to say so."""
