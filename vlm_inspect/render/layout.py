"""What a format may be told of the place that its text goes to."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from vlm_inspect.render.cells import Table


class Layout(Struct, frozen=True):
    """A terminal's width, and whether it shows colours. Files have neither."""

    width: int = 100
    colour: bool = False


Renderer = Callable[[Sequence[Table], Layout], str]
"""A format: tables whose text is all visible, to text that ends with a line end."""
