"""One dialogue with the Hub: quiet, within its deadline, its failures told as vlm-inspect's own errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from vlm_inspect.errors import HubUnavailableError
from vlm_inspect.sources.deadline import OutOfTimeError, within
from vlm_inspect.sources.hub_errors import Asked, as_source_error
from vlm_inspect.sources.options import InspectOptions
from vlm_inspect.sources.quiet import keep_quiet
from vlm_inspect.sources.unusable import unusable

T = TypeVar("T")


def ask_hub(
    asked: Asked,
    options: InspectOptions,
    work: Callable[[], T],
    *,
    unfinished: str = "did not come to an end",
    hint: str,
) -> T:
    """What `work` returns. Raises a SourceError; past the deadline one that says what was `unfinished`.

    BrokenEnvironmentError where huggingface_hub lacks what it needs for that.
    """

    def quiet_work() -> T:
        keep_quiet()
        return work()

    try:
        return within(options.timeout, quiet_work)
    except OutOfTimeError:
        raise HubUnavailableError(
            f"{asked.endpoint} {unfinished} within {options.timeout:g} s.", hint=hint, model=asked.name
        ) from None
    except ImportError as error:
        raise unusable(error) from error
    except asked.failures() as error:
        raise as_source_error(error, asked) from asked.as_cause(error)
