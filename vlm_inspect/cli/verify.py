"""`vlm-inspect verify`: whether a checkpoint loads into the model that its config builds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vlm_inspect.cli import exits
from vlm_inspect.cli.options import HUB, Config, Revision, option, shared_options
from vlm_inspect.cli.output import Note, Output
from vlm_inspect.core.options import InspectOptions

if TYPE_CHECKING:
    from vlm_inspect.core.load_report import LoadReport, LoadStatus

EXAMPLES = """\
vlm-inspect verify llava-hf/llava-1.5-7b-hf
vlm-inspect verify ./my-finetune
vlm-inspect verify ./my-lora --base org/name"""

Model = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="org/name, org/name@revision or a folder; also of a PEFT adapter."),
]
Base = Annotated[
    str | None,
    option("--base", metavar="MODEL", help="Base model of the adapter. Default: `base_model_name_or_path`."),
]

_CODES: dict[LoadStatus, int] = {
    "ok": 0,
    "mismatch": exits.DIFFERENT,
    "unknown": exits.NOT_ANSWERED,
}


@exits.handle_errors
@shared_options(HUB, formats=("terminal", "markdown", "json"))
def command(
    model: Model,
    *,
    base: Base = None,
    config: Config = None,
    revision: Revision = None,
    output: Output,
    options: InspectOptions,
) -> int:
    """Only the headers of the checkpoint are read, no weights.

    Exits with 1 if tensors do not match, and with 3 if that is unknown.
    """
    from vlm_inspect.app import requests, verify

    (request,) = requests.resolve_requests([model], requests.load_settings(config), revision)
    verified = verify.verify_model(request.reference, base=base, revision=request.revision, options=options)
    output.notes([Note(model, note) for note in verified.notes])
    output.write(_text(verified.report, output))
    return _CODES[verified.report.verdict]


def _text(fit: LoadReport, output: Output) -> str:
    from vlm_inspect.render.verify import load_report_json, load_report_tables

    if output.format == "json":
        return load_report_json(fit)
    if output.format == "terminal":
        from vlm_inspect.render.terminal.verify import load_report_text

        return load_report_text(fit, width=output.width, colour=output.colour)
    from vlm_inspect.render import render

    return render(load_report_tables(fit), output.format)
