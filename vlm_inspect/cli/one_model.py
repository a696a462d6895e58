"""What the commands about one model share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vlm_inspect.cli.folded_notes import Note
from vlm_inspect.cli.output import Output
from vlm_inspect.sources.options import InspectOptions

if TYPE_CHECKING:
    from vlm_inspect.architecture import Architecture
    from vlm_inspect.inspection import Inspection
    from vlm_inspect.requested import Request


def inspect_one(
    model: str,
    revision: str | None,
    config: Path | None,
    options: InspectOptions,
    output: Output,
    *,
    with_tree: bool = False,
) -> tuple[Request, Inspection]:
    """Inspect a model, which may be an alias of the configuration, and print its notes."""
    from vlm_inspect import inspection
    from vlm_inspect.requested import load_settings, resolve_requests

    (request,) = resolve_requests([model], load_settings(config), revision)
    found = inspection.examine(
        request.reference, revision=request.revision, options=options, with_tree=with_tree
    )
    output.notes([Note(model, note) for note in found.notes])
    return request, found


def warn_if_doubtful(name: str, architecture: Architecture, output: Output) -> None:
    """Warn that this may be another model: its class ignores parts of the configuration."""
    from vlm_inspect.render.misreadings import misreading

    doubt = misreading(architecture)
    if doubt:
        output.warn(f"{name}: {doubt}")
