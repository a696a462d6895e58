"""Records to text.

The door of this room: `build_table` makes a Table, `render` lays it out in a format of FORMATS;
`build_card` and `module_tree` do as much for one model. A new format is one file and one line here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vlm_inspect.render.cells import Table, made_visible
from vlm_inspect.render.comma_separated import comma_separated
from vlm_inspect.render.latex import latex
from vlm_inspect.render.layout import Layout, Renderer
from vlm_inspect.render.markdown import markdown
from vlm_inspect.render.terminal import terminal
from vlm_inspect.render.web_page import web_page

FORMATS: Mapping[str, Renderer] = {
    "terminal": terminal,
    "markdown": markdown,
    "csv": comma_separated,
    "latex": latex,
    "html": web_page,
}

FORMAT_NAMES: tuple[str, ...] = (*FORMATS, "json")
"""What `--format` takes. JSON is of records, not of their tables: `records.records_json`."""


def render(
    tables: Table | Sequence[Table],
    format: str,  # noqa: A002 - what the option is called
    *,
    width: int = 100,
    colour: bool = False,
) -> str:
    """The tables in a format. The same to the byte whenever and wherever it is asked."""
    several = (tables,) if isinstance(tables, Table) else tables
    return FORMATS[format]([made_visible(table) for table in several], Layout(width, colour))
