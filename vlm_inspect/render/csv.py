"""CSV output, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from vlm_inspect.render.cells import Cell, Layout, Table

# a cell that begins with one of these is a formula (OWASP, CSV Injection), also in full width
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def render_csv(tables: Sequence[Table], _layout: Layout) -> str:
    """Cells as plain text, tables separated by an empty line. Notes are left out: they are not data."""
    return "\n".join(_table(table) for table in tables)


def _table(table: Table) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([_quote_formula(header) for header in table.headers])
    writer.writerows([_quote_formula(_cell_value(cell)) for cell in row] for row in table.rows)
    return stream.getvalue()


def _cell_value(cell: Cell) -> str:
    """The text; of a link, its target."""
    return "".join(span.href or span.text for span in cell)


def _quote_formula(value: str) -> str:
    return f"'{value}" if value.lstrip().startswith(_FORMULA_STARTS) else value
