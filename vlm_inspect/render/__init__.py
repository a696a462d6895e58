"""Records to text.

The door of this room: `build_table` makes a Table, `render` lays it out in a format of FORMATS;
`build_card` and `module_tree` do as much for one model. A new format is one file and one line here;
the file is imported when the format is asked for, since a terminal's needs rich, and the web's jinja2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module

from vlm_inspect.render.cells import Table, made_visible
from vlm_inspect.render.layout import Layout, Renderer

FORMATS: Mapping[str, str] = {
    "terminal": "terminal",
    "markdown": "markdown",
    "csv": "comma_separated",
    "latex": "latex",
    "html": "web_page",
}
"""Each with its file here, and the function in it that has the file's name."""

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
    return _renderer(format)([made_visible(table) for table in several], Layout(width, colour))


def _renderer(format: str) -> Renderer:  # noqa: A002
    name = FORMATS[format]
    renderer: Renderer = getattr(import_module(f"vlm_inspect.render.{name}"), name)
    return renderer
