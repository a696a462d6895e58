"""Hostile files with marked blocks: what stands around a block stays, to the byte."""

from __future__ import annotations

import random
import re
from pathlib import Path

from tools.fuzz.case import Case
from tools.fuzz.mutation import mutated
from tools.fuzz.seeds import snapshot_texts

SETTINGS = b'[[models]]\nid = "./true.json"\n'
_BEGIN = re.compile(rb"vlm-inspect[ \t]*:[ \t]*begin")
_END = re.compile(rb"vlm-inspect[ \t]*:[ \t]*end")
_ARCHITECTURES = b"<!-- vlm-inspect:begin architectures -->"
_COMPARISON = b"<!-- vlm-inspect:begin comparison -->\n<!-- vlm-inspect:end comparison -->\n"
SEEDS = (
    b"# Models\n\n" + _ARCHITECTURES + b"\nold\n<!-- vlm-inspect:end architectures -->\n\nafter\n",
    b"\xef\xbb\xbf<!-- vlm-inspect:begin comparison -->\r\n<!-- vlm-inspect:end -->\r\nafter",
    b"a\n\n```markdown\n<!-- vlm-inspect:begin x -->\n```\n\n    <!-- vlm-inspect:end y -->\n\n"
    + _ARCHITECTURES
    + b"\n| a | b |\n| --- | --- |\n<!-- vlm-inspect:end architectures -->\n"
    + b"`<!-- vlm-inspect:begin z -->`\n"
    + _COMPARISON,
    b"text \xff\xfe caf\xe9\r\n" + _ARCHITECTURES + b"\r<!-- vlm-inspect:end architectures -->\r",
)


def of_file(rng: random.Random) -> Case:
    """A strange README, regenerated, then checked."""
    text = mutated(rng, SEEDS, most=2)
    files = {"README.md": text, "vlm-inspect.toml": SETTINGS, "true.json": snapshot_texts()[0]}
    commands = ("table", "--write", "README.md"), ("table", "--check", "README.md")
    return Case(
        files, commands, writes=("README.md",), follows=lambda folder, codes: _faults(text, folder, codes)
    )


def _faults(before: bytes, folder: Path, codes: list[int]) -> list[str]:
    after = (folder / "README.md").read_bytes()
    if codes[0] != 0:
        return [] if after == before else [f"the file was changed, and the command ended with {codes[0]}"]
    told = [] if codes[1] == 0 else [f"what --write wrote is stale for --check, which ends with {codes[1]}"]
    begin, *_ = (match.start() for match in _BEGIN.finditer(before))
    *_, end = (match.start() for match in _END.finditer(before))
    if not after.startswith(before[:begin]) or not after.endswith(before[end:]):
        told.append("what stands around the blocks was changed")
    return told
