"""`vlm-inspect snapshot`: writes a snapshot file per model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from vlm_inspect.cli import exits
from vlm_inspect.cli.options import MANY_MODELS, Config, Models, Revision, option, shared_options
from vlm_inspect.cli.output import Note, Output, progress
from vlm_inspect.core.errors import InvalidReferenceError
from vlm_inspect.core.options import InspectOptions

EXAMPLES = """\
vlm-inspect snapshot llava-hf/llava-1.5-7b-hf
vlm-inspect snapshot --prune
vlm-inspect snapshot org/name --folder tests/snapshots"""

Folder = Annotated[
    Path | None,
    option(
        "--folder",
        metavar="DIR",
        help="Folder of the snapshot files. Default: the configuration's, or snapshots.",
    ),
]
Prune = Annotated[bool, option("--prune", help="Remove snapshot files of models that are no longer configured.")]


@exits.handle_errors
@shared_options(MANY_MODELS)
def command(
    models: Models = None,
    *,
    folder: Folder = None,
    prune: Prune = False,
    config: Config = None,
    revision: Revision = None,
    output: Output,
    options: InspectOptions,
) -> int:
    """A model that cannot be inspected leaves its file as it was, and the exit code is 3."""
    if prune and models:
        raise InvalidReferenceError(
            "--prune goes by the configuration, and models were named.", hint="Leave MODEL out, or --prune."
        )
    from vlm_inspect.app import requests as app_requests
    from vlm_inspect.app import snapshots

    settings = app_requests.load_settings(config)
    where = folder or snapshots.snapshots_dir(settings)
    requests = app_requests.resolve_requests(models or [], settings, revision)
    written = []
    with progress(len(requests), quiet=output.quiet) as advance:
        for each in snapshots.snapshot(requests, where, options):
            written.append(each)
            advance(each.model)
            if not each.error:
                output.say(f"{each.file.name}: {'written' if each.changed else 'unchanged'}")
    output.errors((each.model, each.error.message, each.error.hint) for each in written if each.error)
    output.notes([Note(each.model, note) for each in written for note in each.notes])
    if prune:
        for path in snapshots.prune(where, [each.file for each in written]):
            output.say(f"{path.name}: removed")
    return exits.NOT_ANSWERED if any(each.error for each in written) else 0
