"""Bars of block characters: a share of a whole, to an eighth of a character."""

from __future__ import annotations

_EIGHTHS = " ▏▎▍▌▋▊▉"
_FULL = "█"


def bar(part: int, total: int, width: int) -> str:
    """A bar as long as the part's share of `width`; what is there at all can be seen."""
    if total <= 0 or part <= 0:
        return ""
    eighths = max(1, round(8 * width * min(part / total, 1)))
    full, rest = divmod(eighths, 8)
    return _FULL * full + (_EIGHTHS[rest] if rest else "")
