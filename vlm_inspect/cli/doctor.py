"""`vlm-inspect doctor`: checks the environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vlm_inspect.cli import exits
from vlm_inspect.cli.options import HUB, shared_options
from vlm_inspect.cli.output import Output
from vlm_inspect.core.options import InspectOptions

if TYPE_CHECKING:
    from vlm_inspect.core.packages import HealthCheck

EXAMPLES = """\
vlm-inspect doctor
vlm-inspect doctor --offline --json"""


@exits.handle_errors
@shared_options(HUB, formats=("terminal", "markdown", "json"))
def command(*, output: Output, options: InspectOptions) -> int:
    """Exits with 1 if something is wrong. A token is never printed."""
    from vlm_inspect.builders import doctor as libraries
    from vlm_inspect.core.packages import HealthCheck
    from vlm_inspect.core.version import __version__
    from vlm_inspect.sources import doctor as hub
    from vlm_inspect.storage import cache

    checks = [
        HealthCheck("vlm-inspect", __version__),
        *libraries.run_checks(),
        *hub.run_checks(options),
        *cache.run_checks(),
    ]
    output.write(_text(checks, output))
    return exits.DIFFERENT if any(check.state == "wrong" for check in checks) else 0


def _text(checks: Sequence[HealthCheck], output: Output) -> str:
    from vlm_inspect.render.doctor import doctor_data, doctor_table, doctor_text

    if output.format == "json":
        from vlm_inspect.render.json import to_json

        return to_json(doctor_data(checks))
    if output.format == "terminal":
        return doctor_text(checks, output.width)
    from vlm_inspect.render import render

    return render(doctor_table(checks), output.format)
