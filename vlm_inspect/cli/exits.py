"""Exit codes, and the one place where an exception becomes one."""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections.abc import Callable
from typing import ParamSpec

import typer

from vlm_inspect.cli.output import report, say
from vlm_inspect.errors import DocumentError, InvalidReferenceError, SettingsError, VlmInspectError
from vlm_inspect.version import __version__

DIFFERENT = 1
WRONG_COMMAND_LINE = 2
NOT_ANSWERED = 3
BUG = 4
INTERRUPTED = 130

_THE_USERS_WORDS = (InvalidReferenceError, SettingsError, DocumentError)

Arguments = ParamSpec("Arguments")


def guarded(command: Callable[Arguments, int]) -> Callable[Arguments, None]:
    """A command that returns its exit code, and whose exceptions end as one with a sentence."""

    @functools.wraps(command)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        try:
            code = command(*args, **kwargs)
        except typer.Exit:
            raise
        except VlmInspectError as error:
            report(error)
            code = WRONG_COMMAND_LINE if isinstance(error, _THE_USERS_WORDS) else NOT_ANSWERED
        except KeyboardInterrupt:
            say("interrupted")
            code = INTERRUPTED
        except BrokenPipeError:  # the reader of a pipe has gone: `| head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 0
        except Exception as error:  # noqa: BLE001 - the roof: what nobody else has caught is a bug of ours
            code = _bug(error, debug=bool(kwargs.get("debug")))
        raise typer.Exit(code)

    return run


def _bug(error: Exception, *, debug: bool) -> int:
    say(f"This is a bug in vlm-inspect {__version__}: {type(error).__name__}: {error}")
    if debug:
        traceback.print_exception(error)
    else:
        say("  Please report it, with what --debug prints.")
    return BUG
