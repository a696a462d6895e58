"""`vlm-inspect snapshot`: writes a file per model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vlm_inspect.cli import exits, options
from vlm_inspect.cli.folded_notes import Note
from vlm_inspect.cli.output import Output
from vlm_inspect.cli.progress import progress
from vlm_inspect.errors import InvalidReferenceError

Folder = Annotated[
    Path | None,
    typer.Option(
        "--folder", metavar="DIR", help="The snapshot folder, if not the configuration's.", show_default=False
    ),
]
Prune = Annotated[
    bool, typer.Option("--prune", help="Remove the files of models that are no longer configured.")
]


@exits.handle_errors
def command(
    models: options.Models = None,
    folder: Folder = None,
    prune: Prune = False,
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
    """Write a snapshot file per model: its record and its module tree, pinned to a commit."""
    if prune and models:
        raise InvalidReferenceError(
            "--prune goes by the configuration, and models were named.", hint="Leave MODEL out, or --prune."
        )
    from vlm_inspect import requested, upkeep

    out = Output(options.Format.TERMINAL, quiet=quiet)
    settings = requested.settings_for(config)
    where = folder or upkeep.folder_of(settings)
    requests = requested.requests_for(models or [], settings, revision)
    asking = options.asking(
        token, cache_dir, builder, offline=offline, trusted=trust_remote_code, no_cache=no_cache, jobs=jobs
    )
    written = []
    with progress(len(requests), quiet=quiet) as advance:
        for each in upkeep.snapshot(requests, where, asking):
            written.append(each)
            advance(each.model)
            if each.error:
                out.error(each.model, each.error.message, each.error.hint)
            else:
                out.say(f"{each.file.name}: {'written' if each.changed else 'as it was'}")
    out.notes([Note(each.model, note) for each in written for note in each.notes])
    if prune:
        for path in upkeep.prune(where, [each.file for each in written]):
            out.say(f"{path.name}: removed")
    return exits.NOT_ANSWERED if any(each.error for each in written) else 0
