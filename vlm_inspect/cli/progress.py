"""A progress bar on stderr while several models are loaded and built."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vlm_inspect.cli import signals
from vlm_inspect.render.cells import escape_control_chars


@contextmanager
def progress(total: int, *, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Yield a function to call with the name of each model that is done.

    Nothing is drawn for one model, with `quiet`, or if stderr is not a terminal that can move its cursor.
    """
    if quiet or total < 2 or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":  # noqa: PLR2004
        yield lambda _: None
        return
    from rich.console import Console
    from rich.control import Control
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.segment import ControlType

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}", markup=False))
    restore = Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2), ControlType.SHOW_CURSOR)
    with (
        signals.progress_bar(str(restore)),
        Progress(*columns, console=Console(stderr=True), transient=True) as bar,
    ):
        task = bar.add_task("models", total=total)
        yield lambda name: bar.update(task, advance=1, description=escape_control_chars(name))
