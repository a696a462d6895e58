"""Numbers as a reader wants them."""

from __future__ import annotations

_UNITS = ((10**12, "T", 2), (10**9, "B", 2), (10**6, "M", 0), (10**3, "K", 0))
_THOUSAND = 1000
_SMALLEST_SHARE = 0.1


def short_count(count: int) -> str:
    """`8.40B`, `282M`: as models' names and papers give it."""
    for index, (unit, letter, decimals) in enumerate(_UNITS):
        if count >= unit:
            if round(count / unit, decimals) >= _THOUSAND and index:
                unit, letter, decimals = _UNITS[index - 1]  # noqa: PLW2901 - 999.9M is 1.00B
            return f"{count / unit:.{decimals}f}{letter}"
    return str(count)


def exact_count(count: int) -> str:
    """`7,063,427,072`."""
    return f"{count:,}"


def share(part: int, total: int) -> str:
    """`4.3 %`; what is there and too little to show is `<0.1 %`."""
    percent = 100 * part / total if total else 0.0
    return "<0.1 %" if 0 < percent < _SMALLEST_SHARE else f"{percent:.1f} %"


def counted(count: int, noun: str) -> str:
    """`1 layer`, `24 layers`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def square(sides: tuple[int, ...]) -> str:
    """`336 x 336`."""
    return " x ".join(str(side) for side in sides)
