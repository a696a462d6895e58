"""Records to text.

`table.build_table` and `card.card_tables` make tables, `render` writes them in a format of FORMATS. A new
format is a module and a line here. Formats are imported on use: rich is slow to import.
"""

from __future__ import annotations

from collections.abc import Sequence

from vlm_inspect.render.cells import Layout, Renderer, Table, escape_table

FORMATS = ("terminal", "markdown", "csv", "latex", "html")
"""The formats of tables. JSON is a format of records: see `vlm_inspect.render.json`."""


def render(
    tables: Table | Sequence[Table],
    format: str,  # noqa: A002 - the name of the option
    *,
    width: int = 100,
    colour: bool = False,
) -> str:
    """Render tables in a format. The output is the same, byte for byte, on every machine."""
    table_list = (tables,) if isinstance(tables, Table) else tables
    return _renderer(format)([escape_table(table) for table in table_list], Layout(width, colour))


def _renderer(format: str) -> Renderer:  # noqa: A002
    if format == "terminal":
        from vlm_inspect.render.terminal.table import render_terminal

        return render_terminal
    from vlm_inspect.render import csv, html, latex, markdown

    renderers: dict[str, Renderer] = {
        "markdown": markdown.render_markdown,
        "csv": csv.render_csv,
        "latex": latex.render_latex,
        "html": html.render_html,
        "html-part": html.render_html_part,
    }
    if format not in renderers:
        raise ValueError(f"unknown format {format!r}")
    return renderers[format]
