"""Python source to a syntax tree, whatever the text holds."""

from __future__ import annotations

import ast
import warnings

LARGEST_FILE = 2 * 1024 * 1024
"""Characters of one source file that are read; transformers' own longest is a tenth of it."""


class UnreadableError(Exception):
    """The text is no Python that can be followed; the message says why."""


def parse(text: str) -> ast.Module:
    """The syntax tree of a source file. Raises UnreadableError."""
    if len(text) > LARGEST_FILE:
        raise UnreadableError(f"longer than {LARGEST_FILE:,} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # of the text's own habits: an invalid escape, `is` with a literal
            return ast.parse(text)
    except SyntaxError as error:
        raise UnreadableError(f"no Python {_place(error)}") from None
    except (RecursionError, MemoryError):
        raise UnreadableError("nested too deep") from None
    except ValueError:  # a NUL, a lone surrogate
        raise UnreadableError("no text") from None


def _place(error: SyntaxError) -> str:
    return f"in line {error.lineno}" if error.lineno else "that this version reads"
