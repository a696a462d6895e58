"""What the commands about one model share: looking it up as the configuration knows it."""

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


def look_up(
    model: str,
    out: Output,
    asking: InspectOptions,
    config: Path | None,
    revision: str | None,
    *,
    with_tree: bool = False,
) -> tuple[Request, Inspection]:
    """The model, an alias of the configuration included, with what its source had to say told."""
    from vlm_inspect import inspection
    from vlm_inspect.requested import requests_for, settings_for

    (request,) = requests_for([model], settings_for(config), revision)
    found = inspection.examine(
        request.reference, revision=request.revision, options=asking, with_tree=with_tree
    )
    out.notes([Note(model, note) for note in found.notes])
    return request, found


def warn_if_misread(name: str, architecture: Architecture, out: Output) -> None:
    """Say that the answer may be another model's, where its class did not read the configuration."""
    from vlm_inspect.render.misreadings import misreading

    doubt = misreading(architecture)
    if doubt:
        out.warn(f"{name}: {doubt}")
