"""CSV, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from vlm_inspect.render.cells import Cell, Layout, Table

# a spreadsheet computes a cell that begins with one of these (OWASP, CSV Injection), of full width too
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def comma_separated(tables: Sequence[Table], _layout: Layout) -> str:
    """Plain cells. Notes are left out: they are not data."""
    return "\n".join(_table(table) for table in tables)


def _table(table: Table) -> str:
    written = io.StringIO()
    rows = csv.writer(written, lineterminator="\n")
    rows.writerow([_guarded(header) for header in table.headers])
    rows.writerows([_guarded(_plain(cell)) for cell in row] for row in table.rows)
    return written.getvalue()


def _plain(cell: Cell) -> str:
    """The text alone, or the address of a link."""
    return "".join(span.href or span.text for span in cell)


def _guarded(value: str) -> str:
    return f"'{value}" if value.lstrip().startswith(_FORMULA_STARTS) else value
