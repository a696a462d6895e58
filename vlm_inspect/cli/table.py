"""`vlm-inspect table`: the tables, on stdout or in the marked blocks of files."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from vlm_inspect import app
from vlm_inspect.cli import exits, options
from vlm_inspect.cli.output import Output
from vlm_inspect.cli.progress import progress
from vlm_inspect.documents import Document
from vlm_inspect.errors import InvalidReferenceError, SettingsError
from vlm_inspect.render import render
from vlm_inspect.render.facts import warnings_for
from vlm_inspect.render.records import records_json
from vlm_inspect.render.rows import Row
from vlm_inspect.render.table import build_table
from vlm_inspect.settings import Settings
from vlm_inspect.sources import SourceOptions


class Kind(str, Enum):
    """Which of the two tables."""

    ARCHITECTURES = "architectures"
    COMPARISON = "comparison"


KindOption = Annotated[
    Kind, typer.Option("--kind", help="architectures: parts and layers. comparison: models side by side.")
]
Columns = Annotated[
    str | None,
    typer.Option(
        "--columns", metavar="ID,ID,…", help="Only these columns, in this order.", show_default=False
    ),
]
Write = Annotated[
    list[Path] | None,
    typer.Option("--write", metavar="FILE", help="Regenerate the marked blocks of FILE.", show_default=False),
]
Check = Annotated[
    list[Path] | None,
    typer.Option("--check", metavar="FILE", help="Exit 1 if --write would change FILE.", show_default=False),
]


WriteFiles = Annotated[
    bool, typer.Option("--write-files", help="--write for every file of the configuration.")
]
CheckFiles = Annotated[
    bool, typer.Option("--check-files", help="--check for every file of the configuration.")
]


@exits.guarded
def command(
    models: options.Models = None,
    kind: KindOption = Kind.ARCHITECTURES,
    columns: Columns = None,
    write: Write = None,
    check: Check = None,
    write_files: WriteFiles = False,
    check_files: CheckFiles = False,
    format: options.FormatOption = None,
    output: options.OutputFile = None,
    config: options.Config = None,
    revision: options.Revision = None,
    token: options.Token = None,
    cache_dir: options.CacheDir = None,
    offline: options.Offline = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> int:
    """The architecture table: a row per model, a column per part.

    Without MODEL: every model of the configuration file, or else of the built-in catalogue.
    """
    out = Output.choose(format, output, quiet=quiet)
    settings = app.settings_for(config)
    asking = SourceOptions(token=token, cache_dir=cache_dir, offline=offline)
    written = [*(write or []), *(app.configured_files(settings) if write_files else [])]
    checked = [*(check or []), *(app.configured_files(settings) if check_files else [])]
    if written or checked:
        if models or columns or format or output or revision:
            raise InvalidReferenceError(
                "--write and --check take their tables from the configuration.",
                hint="Leave MODEL, --columns, --format, --output and --revision out.",
            )
        return _files(written, checked, settings, asking, out)
    if write_files or check_files:
        raise SettingsError(
            "the configuration names no files to regenerate.",
            hint='Add files = ["README.md"] to it, or name one.',
        )
    rows = _rows(app.requests_for(models or [], settings, revision), asking, out)
    out.write(_text(rows, kind, columns, out))
    return exits.NOT_ANSWERED if any(row.error for row in rows) else 0


def _text(rows: list[Row], kind: Kind, columns: str | None, out: Output) -> str:
    if out.format is options.Format.JSON:
        return records_json(rows)
    chosen = [name.strip() for name in columns.split(",")] if columns is not None else None
    table = build_table(kind.value, rows, chosen)
    return render(table, out.format.value, width=out.width, colour=out.colour)


def _rows(requests: list[app.Request], asking: SourceOptions, out: Output) -> list[Row]:
    """The rows in the order asked, with what is to be said of each once it is there."""
    rows = []
    with progress(len(requests), quiet=out.quiet) as advance:
        for answered in app.answers(requests, asking):
            rows.append(answered.row)
            advance(answered.row.name)
            _tell(answered, out)
    return rows


def _tell(answered: app.Answered, out: Output) -> None:
    for note in answered.notes:
        out.note(note)
    for warning in warnings_for(answered.row):
        out.warn(warning)
    if answered.row.error:
        out.error(answered.row.name, answered.row.error.message, answered.row.error.hint)


def _files(
    written: list[Path], checked: list[Path], settings: Settings | None, asking: SourceOptions, out: Output
) -> int:
    paths = list(dict.fromkeys([*written, *checked]))
    blocks = app.blocks_of([app.read_document(path) for path in paths], settings)
    requests = app.requests_of(blocks)
    rows = _rows(requests, asking, out)
    failed = sum(1 for row in rows if row.error)
    if failed:
        out.say(
            f"Left as it was: {', '.join(map(str, paths))}; {failed} of {len(rows)} models were not answered."
        )
        return exits.NOT_ANSWERED
    by_key = {request.key: row for request, row in zip(requests, rows, strict=True)}
    # read again: the models took their time, and the file may have been edited meanwhile
    return max([_file(app.read_document(path), path in written, blocks, by_key, out) for path in paths])


def _file(
    document: Document, write: bool, blocks: Mapping[str, app.Block], rows: Mapping[app.Key, Row], out: Output
) -> int:
    text = app.updated(document, blocks, rows)
    if write:
        out.say(f"{document.path}: {'regenerated' if document.write(text) else 'up to date'}")
        return 0
    if text == document.text:
        out.say(f"{document.path}: up to date")
        return 0
    out.say(f"{document.path}: stale; run: vlm-inspect table --write {document.path}")
    return exits.DIFFERENT
