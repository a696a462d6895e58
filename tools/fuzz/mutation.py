"""Bytes changed a little: flipped, cut, doubled, moved, and salted with what breaks parsers."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

from tools.fuzz.strange import TOKENS

_LONGEST = 400_000
_MOST_CHANGES = 5
_NUMBER = re.compile(rb"-?\d+(\.\d+)?")
_QUOTED = re.compile(rb'"[^"\\\n]{0,200}"')
_MEMBER = re.compile(rb'"[^"\\\n]{1,200}"\s*[:=]\s*(?:"[^"\\\n]{0,200}"|-?[\d.]+|true|false|null)')
_LINE = re.compile(rb"[^\n]*\n")

Change = Callable[[random.Random, bytes], bytes]


def mutated(rng: random.Random, seeds: Sequence[bytes], most: int = _MOST_CHANGES) -> bytes:
    """One of the seeds, changed in a few places."""
    data = rng.choice(seeds)
    for _ in range(rng.randint(1, most)):
        data = rng.choice(CHANGES)(rng, data)[:_LONGEST]
    if rng.random() < 0.02:  # noqa: PLR2004 - seldom: nothing reads past it
        data = _in_another_encoding(rng, data)
    return data


def _flip(rng: random.Random, data: bytes) -> bytes:
    if not data:
        return b"\x00"
    changed = bytearray(data)
    changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _put(rng: random.Random, data: bytes) -> bytes:
    at = rng.randint(0, len(data))
    return data[:at] + rng.choice(TOKENS) + data[at:]


def _put_over(rng: random.Random, data: bytes) -> bytes:
    at = rng.randint(0, len(data))
    token = rng.choice(TOKENS)
    return data[:at] + token + data[at + len(token) :]


def _random_bytes(rng: random.Random, data: bytes) -> bytes:
    at = rng.randint(0, len(data))
    return data[:at] + rng.randbytes(rng.randint(1, 16)) + data[at:]


def _cut_out(rng: random.Random, data: bytes) -> bytes:
    start, stop = _range(rng, data)
    return data[:start] + data[stop:]


def _cut_short(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randint(0, len(data))]


def _double(rng: random.Random, data: bytes) -> bytes:
    start, stop = _range(rng, data)
    return data[:stop] + data[start:stop] * rng.choice((1, 1, 2, 50)) + data[stop:]


def _move(rng: random.Random, data: bytes) -> bytes:
    start, stop = _range(rng, data)
    rest = data[:start] + data[stop:]
    at = rng.randint(0, len(rest))
    return rest[:at] + data[start:stop] + rest[at:]


def _at_a_match(pattern: re.Pattern[bytes], change: Change) -> Change:
    """A change to one of the places that look so; elsewhere a flip."""

    def changed(rng: random.Random, data: bytes) -> bytes:
        found = [match.span() for match in pattern.finditer(data)]
        if not found:
            return _flip(rng, data)
        start, stop = rng.choice(found)
        return data[:start] + change(rng, data[start:stop]) + data[stop:]

    return changed


def _another_number(rng: random.Random, number: bytes) -> bytes:
    near = str(int(float(number[:15])) + rng.choice((-1, 1))).encode() if number.strip(b"-.") else b"1"
    far = (b"0", b"-1", b"2147483648", b"18446744073709551616", b"1e9", b"1000000", b"0.5", b"NaN", b"9" * 30)
    return rng.choice((near, near, rng.choice(far), number * 3))


def _another_text(rng: random.Random, _: bytes) -> bytes:
    token = rng.choice(TOKENS)
    return b'"' + token.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n") + b'"'


def _said_twice(rng: random.Random, member: bytes) -> bytes:
    key = member[: member.index(b'"', 1) + 1]
    return member + b", " + key + b": " + rng.choice((b"1", b"null", b"[]", b'"x"', b"{}"))


def _lines_twice(rng: random.Random, line: bytes) -> bytes:
    return line * rng.choice((2, 2, 3, 40))


def _in_another_encoding(rng: random.Random, data: bytes) -> bytes:
    text = data.decode("utf-8", "replace")
    return text.encode(
        rng.choice(("utf-16", "utf-16-le", "utf-32", "utf-7", "utf-8-sig", "cp037")), "replace"
    )


def _range(rng: random.Random, data: bytes) -> tuple[int, int]:
    start = rng.randint(0, len(data))
    return start, min(len(data), start + int(rng.expovariate(1 / 30)) + 1)


CHANGES: tuple[Change, ...] = (
    _flip,
    _put,
    _put,
    _put_over,
    _random_bytes,
    _cut_out,
    _cut_short,
    _double,
    _move,
    _at_a_match(_NUMBER, _another_number),
    _at_a_match(_NUMBER, _another_number),
    _at_a_match(_QUOTED, _another_text),
    _at_a_match(_QUOTED, _another_text),
    _at_a_match(_MEMBER, _said_twice),
    _at_a_match(_LINE, _lines_twice),
)
"""Some stand twice: what keeps a file a file leads further than what breaks it."""
