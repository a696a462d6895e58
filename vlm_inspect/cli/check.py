"""`vlm-inspect check`: whether the models are still what their snapshot files say."""

from __future__ import annotations

import os
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vlm_inspect.cli import exits, options
from vlm_inspect.cli.folded_notes import Note
from vlm_inspect.cli.output import Output
from vlm_inspect.cli.progress import progress
from vlm_inspect.cli.snapshot import Folder
from vlm_inspect.errors import SettingsError

if TYPE_CHECKING:
    from vlm_inspect.verdict import CheckResult


class CheckFormat(str, Enum):
    """How the report is written."""

    TERMINAL = "terminal"
    MARKDOWN = "markdown"
    JSON = "json"
    GITHUB = "github"


FormatOption = Annotated[
    CheckFormat | None,
    typer.Option(
        "--format",
        help="terminal where the output is one, markdown elsewhere. github: annotations.",
        show_default=False,
    ),
]
Update = Annotated[bool, typer.Option("--update", help="Write what differs or is missing, and exit 0.")]
Latest = Annotated[
    bool, typer.Option("--latest", help="Compare each pinned commit with the newest of its branch, too.")
]
SummaryFile = Annotated[
    Path | None,
    typer.Option(
        "--summary",
        metavar="FILE",
        help="Append the report as Markdown: $GITHUB_STEP_SUMMARY.",
        show_default=False,
    ),
]


@exits.handle_errors
def command(
    folder: Folder = None,
    update: Update = False,
    latest: Latest = False,
    summary: SummaryFile = None,
    format: FormatOption = None,
    output: options.OutputFile = None,
    config: options.Config = None,
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
    """Compare what the models are now with their snapshot files. Exits 1 where they differ."""
    from vlm_inspect import checking, requested, upkeep

    stated = options.Format.MARKDOWN if format else None
    out = Output.choose(stated, output, quiet=quiet)
    settings = requested.settings_for(config)
    where = folder or upkeep.folder_of(settings)
    configured = requested.requests_for((), settings) if requested.configured_models(settings) else None
    asking = options.asking(
        token, cache_dir, builder, offline=offline, trusted=trust_remote_code, no_cache=no_cache, jobs=jobs
    )
    checked = []
    with progress(checking.count(configured, where), quiet=quiet) as advance:
        for each in checking.check(configured, where, asking, latest=latest):
            checked.append(each)
            advance(each.verdict.model)
    if not checked:  # a check of nothing must not look like one that passed
        raise SettingsError(
            f"there is nothing to check: no models are configured, and {where.name} holds no snapshot files.",
            hint="Write one: vlm-inspect snapshot MODEL",
        )
    verdicts = [each.verdict for each in checked]
    out.notes([Note(each.verdict.model, note) for each in checked for note in each.notes])
    chosen = format or (
        CheckFormat.TERMINAL if out.format is options.Format.TERMINAL else CheckFormat.MARKDOWN
    )
    out.write(_text(verdicts, chosen, out, where))
    if summary is not None:
        from vlm_inspect.render.check_formats import report_markdown
        from vlm_inspect.storage.atomic import append_text

        append_text(summary, report_markdown(verdicts))
    if update:
        for path in checking.update(checked, where):
            out.say(f"{path.name}: written")
    return _code(verdicts, updated=update)


def _text(verdicts: Sequence[CheckResult], format: CheckFormat, out: Output, folder: Path) -> str:
    from vlm_inspect.render.check_formats import (
        report_annotations,
        report_data,
        report_markdown,
        report_text,
    )

    if format is CheckFormat.JSON:
        from vlm_inspect.render.records import json_text

        return json_text(report_data(verdicts))
    if format is CheckFormat.GITHUB:
        return report_annotations(verdicts, _in_workspace(folder))
    if format is CheckFormat.MARKDOWN:
        return report_markdown(verdicts)
    if not out.colour:
        return report_text(verdicts, out.width)
    from vlm_inspect.render.terminal_check import coloured_report

    return coloured_report(verdicts, out.width)


def _in_workspace(folder: Path) -> str:
    """The folder as a workflow's annotations name files: from the root of the checkout."""
    workspace = Path(os.environ.get("GITHUB_WORKSPACE") or Path.cwd()).resolve()
    resolved = folder.resolve()
    return resolved.relative_to(workspace).as_posix() if resolved.is_relative_to(workspace) else folder.name


def _code(verdicts: Sequence[CheckResult], *, updated: bool) -> int:
    statuses = {verdict.status for verdict in verdicts}
    if "failed" in statuses:
        return exits.NOT_ANSWERED
    if updated:
        return exits.DIFFERENT if "orphaned" in statuses else 0
    return exits.DIFFERENT if statuses & {"different", "missing", "orphaned"} else 0
