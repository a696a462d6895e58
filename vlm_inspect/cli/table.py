"""`vlm-inspect table`: the tables, on stdout or in the marked blocks of files."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vlm_inspect.cli import exits, options
from vlm_inspect.cli.folded_notes import Note
from vlm_inspect.cli.one_model import warn_if_misread
from vlm_inspect.cli.output import Output, say
from vlm_inspect.cli.progress import progress
from vlm_inspect.errors import InvalidReferenceError, SettingsError
from vlm_inspect.sources.options import InspectOptions

if TYPE_CHECKING:  # a wrong option, or its completion, takes none of these
    from vlm_inspect.render.rows import Row
    from vlm_inspect.requested import Key, Request
    from vlm_inspect.settings import Settings
    from vlm_inspect.table_files import Block


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
    builder: options.BuilderOption = None,
    trust_remote_code: options.TrustRemoteCode = False,
    no_cache: options.NoCache = False,
    jobs: options.Jobs = 1,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> int:
    """The architecture table: a row per model, a column per part.

    Without MODEL: every model of the configuration file, or else of the built-in catalogue.
    """
    from vlm_inspect import requested

    out = Output.choose(format, output, quiet=quiet)
    settings = requested.settings_for(config)
    asking = options.asking(
        token, cache_dir, builder, offline=offline, trusted=trust_remote_code, no_cache=no_cache, jobs=jobs
    )
    written = [*(write or []), *(_configured(settings) if write_files else [])]
    checked = [*(check or []), *(_configured(settings) if check_files else [])]
    if written or checked:
        if models or columns or format or output or revision:
            raise InvalidReferenceError(
                "--write and --check take their tables from the configuration.",
                hint="Leave MODEL, --columns, --format, --output and --revision out.",
            )
        stale = _files(written, checked, settings, asking, out)
        for path in stale or ():
            say(f"{path}: stale; run: {_again(path, config)}")
        return exits.NOT_ANSWERED if stale is None else exits.DIFFERENT if stale else 0
    if write_files or check_files:
        raise _no_files(settings)
    chosen = _columns(columns, kind, out)
    rows = _rows(requested.requests_for(models or [], settings, revision), asking, out)
    out.write(_text(rows, kind, chosen, out))
    return exits.NOT_ANSWERED if any(row.error for row in rows) else 0


def _configured(settings: Settings | None) -> list[Path]:
    from vlm_inspect.table_files import configured_files

    return configured_files(settings)


def _no_files(settings: Settings | None) -> SettingsError:
    if settings is None:
        return SettingsError(
            "there is no configuration that names files, here or upward.",
            hint="Name the file: --write README.md",
        )
    return SettingsError(
        f"{settings.path} names no files.",
        hint='Add files = ["README.md"] to it, or name one: --write README.md',
    )


def _columns(stated: str | None, kind: Kind, out: Output) -> list[str] | None:
    """The columns asked for; a wrong one is told before a model is built."""
    if stated is None:
        return None
    from vlm_inspect.render.columns import chosen

    if out.format is options.Format.JSON:
        raise InvalidReferenceError(
            "--columns chooses columns of a table, and --format json prints records.",
            hint="Leave one of the two out.",
        )
    names = [name.strip() for name in stated.split(",")]
    chosen(kind.value, names)
    return names


def _text(rows: list[Row], kind: Kind, columns: list[str] | None, out: Output) -> str:
    if out.format is options.Format.JSON:
        from vlm_inspect.render.records import records_json

        return records_json(rows)
    from vlm_inspect.render import render
    from vlm_inspect.render.table import build_table

    table = build_table(kind.value, rows, columns)
    return render(table, out.format.value, width=out.width, colour=out.colour)


def _rows(requests: list[Request], asking: InspectOptions, out: Output) -> list[Row]:
    """The rows in the order asked; what is to be said of them is said when all are there."""
    from vlm_inspect import answers

    rows, notes = [], []
    with progress(len(requests), quiet=out.quiet) as advance:
        for answered in answers.answers(requests, asking):
            rows.append(answered.row)
            advance(answered.row.name)
            notes += [Note(_model(answered.row), text) for text in answered.notes]
    out.notes(notes)
    for row in rows:
        _tell(row, out)
    return rows


def _model(row: Row) -> str:
    """The model as its source calls it, whatever the table does."""
    return row.architecture.model.id if row.architecture else row.name


def _tell(row: Row, out: Output) -> None:
    from vlm_inspect.render.facts import warnings_for

    for warning in warnings_for(row):
        out.warn(warning)
    if row.architecture:
        warn_if_misread(row.name, row.architecture, out)
    if row.error:
        out.error(row.name, row.error.message, row.error.hint)


def _files(
    written: list[Path], checked: list[Path], settings: Settings | None, asking: InspectOptions, out: Output
) -> list[Path] | None:
    """The files that are stale. None where a model was not answered: then no file is touched."""
    from vlm_inspect import table_files
    from vlm_inspect.documents import read_document

    paths = list(dict.fromkeys([*written, *checked]))
    blocks = table_files.blocks_of([read_document(path) for path in paths], settings)
    requests = table_files.requests_of(blocks)
    rows = _rows(requests, asking, out)
    failed = sum(1 for row in rows if row.error)
    if failed:
        out.say(
            f"Left as it was: {', '.join(map(str, paths))}; {failed} of {len(rows)} models were not answered."
        )
        return None
    by_key = {request.key: row for request, row in zip(requests, rows, strict=True)}
    return [path for path in paths if _is_stale(path, path in written, blocks, by_key, out)]


def _is_stale(
    path: Path,
    write: bool,
    blocks: Mapping[str, Block],
    rows: Mapping[Key, Row],
    out: Output,
) -> bool:
    """Whether the file is, and stays, not what would be generated.

    It is read again: the models took their time, and it may have been edited meanwhile.
    """
    from vlm_inspect import table_files
    from vlm_inspect.documents import read_document, update_document

    if not write:
        document = read_document(path)
        if table_files.updated(document, blocks, rows) != document.text:
            return True
    changed = write and update_document(path, lambda document: table_files.updated(document, blocks, rows))
    out.say(f"{path}: {'regenerated' if changed else 'up to date'}")
    return False


def _again(path: Path, config: Path | None) -> str:
    """The command that regenerates a file."""
    stated = ["--config", str(config)] if config else []
    return shlex.join(["vlm-inspect", "table", *stated, "--write", str(path)])
