"""Records to text.

`build_table` makes a Table, `render` writes it in a format of FORMATS; `build_card` and `module_tree` do as
much for one model. A new format is a file and a case here; the file is imported when it is needed, since the
terminal's needs rich and HTML needs jinja2.
"""

from __future__ import annotations

from collections.abc import Sequence

from vlm_inspect.render.cells import Layout, Renderer, Table, made_visible

FORMATS = ("terminal", "markdown", "csv", "latex", "html")
"""The formats of tables. JSON is a format of records: `records.records_json`."""


def render(
    tables: Table | Sequence[Table],
    format: str,  # noqa: A002 - what the option is called
    *,
    width: int = 100,
    colour: bool = False,
) -> str:
    """Write tables in a format. The output is the same to the byte on every machine."""
    several = (tables,) if isinstance(tables, Table) else tables
    return _renderer(format)([made_visible(table) for table in several], Layout(width, colour))


def _renderer(format: str) -> Renderer:  # noqa: A002
    match format:
        case "terminal":
            from vlm_inspect.render.terminal.table import terminal

            return terminal
        case "markdown":
            from vlm_inspect.render.markdown import markdown

            return markdown
        case "csv":
            from vlm_inspect.render.csv import comma_separated

            return comma_separated
        case "latex":
            from vlm_inspect.render.latex import latex

            return latex
        case "html":
            from vlm_inspect.render.html import web_page

            return web_page
    raise ValueError(f"unknown format {format!r}")
