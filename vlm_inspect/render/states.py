"""What a cell says where there is no value. The reasons why there is none read differently.

`none`: the model has no such part. `unknown (why)`: it could not be told. `—`: the question does not
arise (a Linear has no layers). `not stated`: only the user could say, and has not.
"""

from __future__ import annotations

from collections.abc import Mapping

from vlm_inspect.render.cells import Cell, code, text

ABSENT = text("none")
NOT_ASKED = text("—")
NOT_STATED = text("not stated")

_LONGEST_REASON = 60


def unknown(reason: str) -> Cell:
    """`unknown (needs remote code)`."""
    return text(f"unknown ({in_short(reason)})" if reason else "unknown")


def in_short(reason: str) -> str:
    """A reason that fits a cell: whole where it is short, else its beginning. The notes have all of it."""
    whole = " ".join(reason.split())
    if len(whole) <= _LONGEST_REASON:
        return whole
    return whole[:_LONGEST_REASON].rpartition(" ")[0].rstrip(",;:") + " …"


def is_cut(reason: str) -> bool:
    """Whether a cell shows less than the whole reason."""
    return len(" ".join(reason.split())) > _LONGEST_REASON


def missing(field: str, reasons: Mapping[str, str], otherwise: Cell = NOT_ASKED) -> Cell:
    """What stands for a field without a value: unknown where there is a reason."""
    return unknown(reasons[field]) if field in reasons else otherwise


def class_cell(class_name: str | None, reasons: Mapping[str, str]) -> Cell:
    """A class by its name in code, or why there is none."""
    return code(class_name) if class_name else missing("class_name", reasons)
