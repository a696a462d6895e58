"""A stranger's regular expression, tried where it can take no longer than it may.

Some expressions take for ever, and Python cannot interrupt one: a process of its own can be ended.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

SECONDS = 5
_LONGEST = 10_000
_TRY = (
    "import json, re, sys; pattern, names = json.load(sys.stdin); match = re.compile(pattern).fullmatch; "
    "json.dump([name for name in names if match(name)], sys.stdout)"
)


def matches(pattern: str, names: Sequence[str]) -> frozenset[str] | None:
    """The names that the expression matches from end to end; None where it is none, or takes too long."""
    if len(pattern) > _LONGEST:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - this Python; the expression comes by its input
            [sys.executable, "-I", "-S", "-c", _TRY],
            input=json.dumps([pattern, list(names)]).encode(),
            capture_output=True,
            timeout=SECONDS,
            check=True,
        )
    except (subprocess.SubprocessError, OSError):
        return None
    return frozenset(json.loads(done.stdout))
