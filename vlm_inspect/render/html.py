"""HTML output: one page without scripts or external files."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from vlm_inspect.render.cells import Layout, Table


def render_html(tables: Sequence[Table], _layout: Layout) -> str:
    """A page with the tables: follows the system's light or dark theme, wide tables scroll."""
    title = (tables[0].title if tables else "") or "Vision-language models"
    return str(_template().render(tables=tables, title=title))


@cache
def _template() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("vlm_inspect.render"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("page.html")
