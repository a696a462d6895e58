"""The records of the Python API as Markdown and HTML."""

from __future__ import annotations

from collections.abc import Sequence

from vlm_inspect.core.architecture import Architecture
from vlm_inspect.core.difference import Difference
from vlm_inspect.core.load_report import LoadReport
from vlm_inspect.render import render
from vlm_inspect.render.cells import Table


def record_markdown(record: object) -> str:
    """Return a record as the command prints it with `--format markdown`."""
    if isinstance(record, Difference):
        from vlm_inspect.render.diff import build_report
        from vlm_inspect.render.diff_markdown import difference_markdown

        return difference_markdown(build_report(record))
    return render(_tables(record), "markdown")


def record_html(record: object) -> str:
    """Return a record's tables as a part of an HTML page."""
    return render(_tables(record), "html-part")


def _tables(record: object) -> Sequence[Table]:
    if isinstance(record, Difference):
        from vlm_inspect.render.diff import build_report, difference_tables

        return difference_tables(build_report(record))
    if isinstance(record, LoadReport):
        from vlm_inspect.render.verify import load_report_tables

        return load_report_tables(record)
    if isinstance(record, Architecture):
        from vlm_inspect.render.card import build_card, card_tables

        return card_tables(build_card(record))
    raise TypeError(f"{type(record).__name__} has no tables")
