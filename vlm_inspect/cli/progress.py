"""A progress line on stderr while several models are fetched and built."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(total: int, *, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Yields what to call as each model is done. Draws nothing for one model, a pipe, or `-q`."""
    if quiet or total < 2 or not sys.stderr.isatty():  # noqa: PLR2004 - several
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("models", total=total)
        yield lambda name: bar.update(task, advance=1, description=name)
