"""Exit codes, and the one place where an exception becomes one."""

from __future__ import annotations

import functools
import signal
import traceback
from collections.abc import Callable
from typing import ParamSpec

import typer

from vlm_inspect.cli import interruption
from vlm_inspect.cli.output import detach_stdout, print_stderr, report
from vlm_inspect.errors import DocumentError, InvalidReferenceError, SettingsError, VlmInspectError
from vlm_inspect.version import __version__

DIFFERENT = 1
WRONG_COMMAND_LINE = 2
NOT_ANSWERED = 3
BUG = 4
INTERRUPTED = interruption.INTERRUPTED

USAGE_ERRORS = (InvalidReferenceError, SettingsError, DocumentError)

Arguments = ParamSpec("Arguments")


def handle_errors(command: Callable[Arguments, int]) -> Callable[Arguments, None]:
    """End a command with the exit code that it returns, and an exception with a message and its own."""

    @functools.wraps(command)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        try:
            with interruption.heard():
                code = _code(lambda: command(*args, **kwargs), debug=bool(kwargs.get("debug")))
        except KeyboardInterrupt:
            code = _stopped()
        raise typer.Exit(code)

    return run


def _stopped() -> int:
    number = interruption.forget()
    if number not in {None, signal.SIGINT}:
        interruption.end_by(number)
    if interruption.may_say_word():
        print_stderr(interruption.WORD)
    return INTERRUPTED


def _code(command: Callable[[], int], *, debug: bool) -> int:
    try:
        return command()
    except typer.Exit:
        raise
    except VlmInspectError as error:
        report(error)
        return WRONG_COMMAND_LINE if isinstance(error, USAGE_ERRORS) else NOT_ANSWERED
    except BrokenPipeError:  # the reader of a pipe has gone: `| head`
        detach_stdout()
        return 0
    except Exception as error:  # noqa: BLE001 - the roof: what nobody else has caught is a bug of ours
        return _bug(error, debug=debug)


def _bug(error: Exception, *, debug: bool) -> int:
    print_stderr(f"This is a bug in vlm-inspect {__version__}: {type(error).__name__}: {error}")
    if debug:
        print_stderr("".join(traceback.format_exception(error)).rstrip("\n"))
    else:
        print_stderr("  Please report it, with what --debug prints.")
    return BUG
