"""HTML output: one page without scripts or external files, or its tables alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from vlm_inspect.render.cells import Layout, Table


def render_html(tables: Sequence[Table], _layout: Layout) -> str:
    """A page with the tables: follows the system's light or dark theme, wide tables scroll."""
    return _render("page.html", tables)


def render_html_part(tables: Sequence[Table], _layout: Layout) -> str:
    """The tables alone, for a page that has its own style."""
    return _render("tables.html", tables)


def _render(template: str, tables: Sequence[Table]) -> str:
    title = (tables[0].title if tables else "") or "Vision-language models"
    return str(_templates().get_template(template).render(tables=tables, title=title))


@cache
def _templates() -> Any:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("vlm_inspect.render"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
