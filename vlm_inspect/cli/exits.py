"""Exit codes, and the translation of exceptions into them."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable
from typing import ParamSpec

import typer

from vlm_inspect.cli import signals
from vlm_inspect.cli.output import detach_stdout, print_stderr, report
from vlm_inspect.core.errors import DocumentError, InvalidReferenceError, SettingsError, VlmInspectError
from vlm_inspect.core.version import __version__

DIFFERENT = 1
WRONG_COMMAND_LINE = 2
NOT_ANSWERED = 3
BUG = 4
INTERRUPTED = signals.INTERRUPTED

USAGE_ERRORS = (InvalidReferenceError, SettingsError, DocumentError)

Arguments = ParamSpec("Arguments")


def handle_errors(command: Callable[Arguments, int]) -> Callable[Arguments, None]:
    """Exit with the code that a command returns; print its exception and exit with the code for that."""

    @functools.wraps(command)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        try:
            code = command(*args, **kwargs)
        except typer.Exit:
            raise
        except KeyboardInterrupt:  # called from Python, without the handlers of `signals`
            print_stderr(signals.MESSAGE)
            code = signals.INTERRUPTED
        except BaseException as error:  # noqa: BLE001 - every other exception is a bug
            code = _code(error, debug=bool(kwargs.get("debug")))
        raise typer.Exit(code)

    return run


def _code(error: BaseException, *, debug: bool) -> int:
    if isinstance(error, VlmInspectError):
        report(error)
        return WRONG_COMMAND_LINE if isinstance(error, USAGE_ERRORS) else NOT_ANSWERED
    if isinstance(error, BrokenPipeError):  # `| head` has closed the pipe
        detach_stdout()
        return 0
    print_stderr(f"This is a bug in vlm-inspect {__version__}: {type(error).__name__}: {error}")
    if debug:
        print_stderr("".join(traceback.format_exception(error)).rstrip("\n"))
    else:
        print_stderr("  Please report it with the output of --debug.")
    return BUG
