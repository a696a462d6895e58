"""`vlm-inspect show`: all facts about one model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from vlm_inspect.cli import exits
from vlm_inspect.cli.options import ONE_MODEL, Config, Model, Revision, option, shared_options
from vlm_inspect.cli.output import Note, Output
from vlm_inspect.core.options import InspectOptions

if TYPE_CHECKING:
    from vlm_inspect.app.pipeline import Inspection
    from vlm_inspect.app.requests import Request
    from vlm_inspect.core.architecture import Architecture
    from vlm_inspect.render.card import Card


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
    from vlm_inspect.app import pipeline
    from vlm_inspect.app.requests import load_settings, resolve_requests

    (request,) = resolve_requests([model], load_settings(config), revision)
    found = pipeline.inspect_model(request.reference, revision=request.revision, options=options, with_tree=with_tree)
    output.notes([Note(model, note) for note in found.notes])
    return request, found


def warn_if_doubtful(name: str, architecture: Architecture, output: Output) -> None:
    """Warn that this may be another model, whose configuration the class ignores; note an uncertain count."""
    from vlm_inspect.render.text.warnings import ignored_keys_warning

    doubt = ignored_keys_warning(architecture)
    if doubt:
        output.warn(f"{name}: {doubt}")
    if architecture.parameters.uncertain:
        output.note(f"{name}: {architecture.parameters.uncertain}")


EXAMPLES = """\
vlm-inspect show llava-hf/llava-1.5-7b-hf
vlm-inspect show ./my-model --explain
vlm-inspect show org/name@main --json"""

Explain = Annotated[bool, option("--explain", help="Show how the role of each component was determined.")]


@exits.handle_errors
@shared_options(ONE_MODEL, formats=("terminal", "markdown", "json", "html"))
def command(
    model: Model,
    *,
    explain: Explain = False,
    config: Config = None,
    revision: Revision = None,
    output: Output,
    options: InspectOptions,
) -> int:
    """Downloads config.json and no weights.

    Where transformers has no class for the model, the headers of its checkpoint and the source code of its
    repository are read, too. That code is not run without --trust-remote-code.
    """
    request, inspection = inspect_one(model, revision, config, options, output)
    if output.format != "terminal":  # there the card has the warning
        warn_if_doubtful(request.name, inspection.architecture, output)
    if output.format == "json":
        from vlm_inspect.render.json import record_json

        output.write(record_json(inspection.architecture))
    else:
        from vlm_inspect.render.card import build_card

        card = build_card(inspection.architecture, name=request.alias, explain=explain)
        output.write(_text(card, output))
    return 0


def _text(card: Card, output: Output) -> str:
    if output.format == "terminal":
        from vlm_inspect.render.terminal.card import card_text

        return card_text(card, width=output.width, colour=output.colour)
    from vlm_inspect.render import render
    from vlm_inspect.render.card import card_tables

    return render(card_tables(card), output.format)
