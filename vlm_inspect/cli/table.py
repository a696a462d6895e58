"""`vlm-inspect table`: tables on stdout or in the marked blocks of files."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from vlm_inspect.cli import exits
from vlm_inspect.cli.options import MANY_MODELS, Config, Models, Revision, option, shared_options
from vlm_inspect.cli.output import Note, Output, print_stderr, progress
from vlm_inspect.cli.show import warn_if_doubtful
from vlm_inspect.core.errors import InvalidReferenceError, SettingsError
from vlm_inspect.core.options import InspectOptions

if TYPE_CHECKING:  # usage errors and completion do not need these
    from vlm_inspect.app.requests import Request
    from vlm_inspect.app.table_blocks import Block
    from vlm_inspect.render.cells import Row
    from vlm_inspect.settings import Settings

EXAMPLES = """\
vlm-inspect table
vlm-inspect table org/one org/two --kind comparison
vlm-inspect table --write README.md"""

Kind = Literal["architectures", "comparison"]

KindOption = Annotated[
    Kind,
    option(
        "--kind",
        metavar="KIND",
        help="architectures (components and layers) or comparison (models side by side).",
        show_default=True,
    ),
]
Columns = Annotated[
    str | None,
    option("--columns", metavar="ID,ID,…", help="Only these columns, in this order."),
]
_FILES = "Files with marked blocks"
Write = Annotated[
    list[Path] | None,
    option("--write", metavar="FILE", help="Regenerate the marked blocks of FILE. Can be repeated.", group=_FILES),
]
Check = Annotated[
    list[Path] | None,
    option(
        "--check",
        metavar="FILE",
        help="Exit with 1 if --write would change FILE. Can be repeated.",
        group=_FILES,
    ),
]
WriteFiles = Annotated[
    bool,
    option("--write-files", help="--write for every file of the configuration.", group=_FILES),
]
CheckFiles = Annotated[
    bool,
    option("--check-files", help="--check for every file of the configuration.", group=_FILES),
]


@exits.handle_errors
@shared_options(MANY_MODELS, formats=("terminal", "markdown", "json", "csv", "latex", "html"))
def command(
    models: Models = None,
    *,
    kind: KindOption = "architectures",
    columns: Columns = None,
    write: Write = None,
    check: Check = None,
    write_files: WriteFiles = False,
    check_files: CheckFiles = False,
    config: Config = None,
    revision: Revision = None,
    output: Output,
    options: InspectOptions,
) -> int:
    """With --write or --check, the tables are those of the marked blocks of files."""
    from vlm_inspect.app import requests as app_requests

    settings = app_requests.load_settings(config)
    configured = _configured_files(settings) if write_files or check_files else []
    to_write = [*(write or []), *(configured if write_files else [])]
    to_check = [*(check or []), *(configured if check_files else [])]
    if to_write or to_check:
        if models or columns or revision or output.is_format_given or output.file:
            raise InvalidReferenceError(
                "--write and --check take their tables from the configuration.",
                hint="Omit MODEL, --columns, --format, --output and --revision.",
            )
        return _update(to_write, to_check, settings, config, options, output)
    if write_files or check_files:
        raise _no_files(settings)
    requests = app_requests.resolve_requests(models or [], settings, revision)
    return _print(requests, kind, columns, options, output)


def _configured_files(settings: Settings | None) -> list[Path]:
    from vlm_inspect.app.table_blocks import configured_files

    return configured_files(settings)


def _no_files(settings: Settings | None) -> SettingsError:
    if settings is None:
        return SettingsError(
            "no configuration file in this folder or above it names files.",
            hint="Name the file: --write README.md",
        )
    return SettingsError(
        f"{settings.path} names no files.",
        hint='Add files = ["README.md"] to it, or name one: --write README.md',
    )


def _print(requests: list[Request], kind: Kind, columns: str | None, options: InspectOptions, output: Output) -> int:
    """Write one table to stdout or --output."""
    column_ids = _columns(columns, kind, output)  # raises before a model is built
    rows = _rows(requests, options, output)
    if output.format != "terminal":  # there the table has the warnings
        _warn_if_doubtful(rows, output)
    output.write(_text(rows, kind, column_ids, output))
    return exits.NOT_ANSWERED if any(row.error for row in rows) else 0


def _columns(ids: str | None, kind: Kind, output: Output) -> list[str] | None:
    if ids is None:
        return None
    from vlm_inspect.render.columns import select_columns

    if output.format == "json":
        raise InvalidReferenceError(
            "--columns chooses columns of a table, and --format json prints records.",
            hint="Use one of the two.",
        )
    names = [name.strip() for name in ids.split(",")]
    select_columns(kind, names)
    return names


def _text(rows: list[Row], kind: Kind, columns: list[str] | None, output: Output) -> str:
    if output.format == "json":
        from vlm_inspect.render.json import records_json

        return records_json(rows)
    from vlm_inspect.render import render
    from vlm_inspect.render.table import build_table

    table = build_table(kind, rows, columns)
    return render(table, output.format, width=output.width, colour=output.colour)


def _rows(requests: list[Request], options: InspectOptions, output: Output) -> list[Row]:
    """The rows in the order of the requests; notes, warnings and errors are printed at the end."""
    from vlm_inspect.app import requests as app_requests
    from vlm_inspect.render.facts import fact_warnings

    rows, notes = [], []
    with progress(len(requests), quiet=output.quiet) as advance:
        for result in app_requests.table_rows(requests, options):
            row = result.row
            rows.append(row)
            advance(row.name)
            model = row.architecture.model.id if row.architecture else row.name
            notes += [Note(model, text) for text in result.notes]
    output.notes(notes)
    for row in rows:
        for warning in fact_warnings(row):
            output.warn(warning)
    output.errors((row.name, row.error.message, row.error.hint) for row in rows if row.error)
    return rows


def _warn_if_doubtful(rows: list[Row], output: Output) -> None:
    for row in rows:
        if row.architecture:
            warn_if_doubtful(row.name, row.architecture, output)


def _update(
    to_write: Sequence[Path],
    to_check: Sequence[Path],
    settings: Settings | None,
    config: Path | None,
    options: InspectOptions,
    output: Output,
) -> int:
    """Write or check the marked blocks of files. If a model fails, no file is touched."""
    from vlm_inspect.app import table_blocks

    plan = table_blocks.plan_files(to_write, to_check, settings)
    rows = _rows(plan.requests, options, output)
    _warn_if_doubtful(rows, output)
    failed = sum(1 for row in rows if row.error)
    if failed:
        paths = ", ".join(map(str, plan.blocks))
        output.say(f"Unchanged: {paths}. {failed} of {len(rows)} models failed.")
        return exits.NOT_ANSWERED
    stale = []
    for path, blocks in plan.blocks.items():
        state = table_blocks.update_file(path, plan, rows)
        if state == "stale":
            stale.append(path)
        else:
            output.say(f"{path}: {state}{_written(blocks) if state == 'regenerated' else ''}")
    for path in stale:
        print_stderr(f"{path}: stale; run: {_write_command(path, config)}")
    return exits.DIFFERENT if stale else 0


def _written(blocks: Sequence[Block]) -> str:
    from vlm_inspect.render.text.values import plural

    return ": " + ", ".join(f"{block.name} ({plural(len(block.requests), 'model')})" for block in blocks)


def _write_command(path: Path, config: Path | None) -> str:
    option = ["--config", str(config)] if config else []
    return shlex.join(["vlm-inspect", "table", *option, "--write", str(path)])
