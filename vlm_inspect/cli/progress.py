"""A progress line on stderr while several models are fetched and built."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vlm_inspect.cli import interruption
from vlm_inspect.render.cells import visible


@contextmanager
def progress(total: int, *, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Yields what to call as each model is done. Draws nothing for one model, a pipe, or `-q`."""
    if quiet or total < 2 or not _can_draw():  # noqa: PLR2004 - several
        yield lambda _: interruption.check()
        return
    from rich.console import Console
    from rich.control import Control
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.segment import ControlType

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}", markup=False))
    undrawn = Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2), ControlType.SHOW_CURSOR)
    with (
        interruption.drawing(str(undrawn)),
        Progress(*columns, console=Console(stderr=True), transient=True) as bar,
    ):
        task = bar.add_task("models", total=total)

        def advance(name: str) -> None:
            interruption.check()
            bar.update(task, advance=1, description=visible(name))

        yield advance


def _can_draw() -> bool:
    """A terminal, and one that can go back to the start of its line."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
