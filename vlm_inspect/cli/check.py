"""`vlm-inspect check`: compares models with their snapshot files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from vlm_inspect.cli import exits
from vlm_inspect.cli.options import MANY_MODELS, Config, option, shared_options
from vlm_inspect.cli.output import Note, Output, progress
from vlm_inspect.cli.snapshot import Folder
from vlm_inspect.core.errors import SettingsError
from vlm_inspect.core.options import InspectOptions

if TYPE_CHECKING:
    from vlm_inspect.core.snapshot import CheckResult

EXAMPLES = """\
vlm-inspect check
vlm-inspect check --update
vlm-inspect check --format github"""

Update = Annotated[bool, option("--update", help="Write snapshot files that differ or are missing, and exit with 0.")]
Latest = Annotated[bool, option("--latest", help="Also compare pinned commits with the newest of their branch.")]
SummaryFile = Annotated[
    Path | None,
    option(
        "--summary",
        metavar="FILE",
        help="Append the report as Markdown to FILE, for example $GITHUB_STEP_SUMMARY.",
    ),
]


@exits.handle_errors
@shared_options(MANY_MODELS, formats=("terminal", "markdown", "json", "github"))
def command(
    *,
    folder: Folder = None,
    update: Update = False,
    latest: Latest = False,
    summary: SummaryFile = None,
    config: Config = None,
    output: Output,
    options: InspectOptions,
) -> int:
    """Exits with 1 if they differ. The format github prints annotations for a workflow."""
    from vlm_inspect.app import requests, snapshots

    settings = requests.load_settings(config)
    where = folder or snapshots.snapshots_dir(settings)
    configured = requests.resolve_requests((), settings) if requests.configured_models(settings) else None
    checked = []
    with progress(snapshots.count(configured, where), quiet=output.quiet) as advance:
        for each in snapshots.check(configured, where, options, latest=latest):
            checked.append(each)
            advance(each.verdict.model)
    if not checked:  # checking nothing must not look like success
        raise SettingsError(
            f"there is nothing to check: no models are configured, and {where.name} holds no snapshot files.",
            hint="Write one: vlm-inspect snapshot MODEL",
        )
    verdicts = [each.verdict for each in checked]
    output.notes([Note(each.verdict.model, note) for each in checked for note in each.notes])
    output.write(_text(verdicts, output, where))
    if summary is not None:
        from vlm_inspect.render.check import report_markdown
        from vlm_inspect.storage.atomic import append_text

        append_text(summary, report_markdown(verdicts))
    if update:
        for path in snapshots.update(checked, where):
            output.say(f"{path.name}: written")
    return _code(verdicts, updated=update)


def _text(verdicts: Sequence[CheckResult], output: Output, folder: Path) -> str:
    from vlm_inspect.render import check

    if output.format == "json":
        from vlm_inspect.render.json import to_json

        return to_json(check.report_data(verdicts))
    if output.format == "github":
        return check.report_annotations(verdicts, _in_workspace(folder))
    if output.format == "markdown":
        return check.report_markdown(verdicts)
    return check.report_text(verdicts, output.width, colour=output.colour)


def _in_workspace(folder: Path) -> str:
    """The folder, relative to the root of the checkout, as annotations need it."""
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
