"""`vlm-inspect doctor`: what is wrong with the place that it runs in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vlm_inspect.cli import exits, options
from vlm_inspect.cli.output import Output
from vlm_inspect.sources import InspectOptions

if TYPE_CHECKING:
    from vlm_inspect.diagnosis import Finding


@exits.guarded
def command(
    format: options.FormatOption = None,
    output: options.OutputFile = None,
    token: options.Token = None,
    cache_dir: options.CacheDir = None,
    offline: options.Offline = False,
    debug: options.Debug = False,
) -> int:
    """Versions, cache, token (present or not), the way to the Hub. Exits 1 where something is wrong."""
    from vlm_inspect import doctor

    out = Output.choose(format, output, quiet=False)
    findings = list(doctor.look(InspectOptions(token=token, cache_dir=cache_dir, offline=offline)))
    out.write(_text(findings, out.format))
    wrong = any(finding.state == "wrong" for finding in findings)
    return exits.DIFFERENT if wrong else 0


def _text(findings: Sequence[Finding], form: options.Format) -> str:
    from vlm_inspect.render import render
    from vlm_inspect.render.diagnosis_lines import diagnosis_data, diagnosis_table, diagnosis_text

    if form is options.Format.JSON:
        from vlm_inspect.render.records import json_text

        return json_text(diagnosis_data(findings))
    if form is options.Format.TERMINAL:
        return diagnosis_text(findings)
    return render(diagnosis_table(findings), form.value)
