"""The answer for every type, word by word: `BLESS_GOLDEN=1 pytest tests/every_type` writes it anew.

What is blessed is checked as what is live is, so that a mistake does not become the truth by being written.
"""

import difflib
import json
import os
import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.every_type import TYPES
from tests.every_type.answers import answer_of, tree_of
from tests.every_type.invariants import (
    INVARIANTS,
    a_class_is_a_name_or_unknown,
    what_is_unknown_is_an_empty_field_or_a_role,
)
from vlm_inspect.core.snapshot import Snapshot
from vlm_inspect.render import render
from vlm_inspect.render.card import build_card, card_tables
from vlm_inspect.render.cells import Row
from vlm_inspect.render.columns import KINDS
from vlm_inspect.render.table import build_table
from vlm_inspect.storage import snapshots
from vlm_inspect.storage.snapshots import Stored

GOLDEN = Path(__file__).parent / "golden"
SNAPSHOTS = Path(__file__).parent.parent.parent / "snapshots"
# of all types together: they are read in a review
LARGEST = 2_000_000


def record_text(record):
    bare = replace(record, versions={})
    text = snapshots.to_text(Stored(Snapshot.of(bare, None)))
    # deep as records are, a third of the text would be indentation
    return re.sub(r"^ +", lambda indent: indent[0][::2], text, flags=re.MULTILINE)


@pytest.mark.parametrize("model_type", TYPES)
def test_the_record_is_as_it_was_blessed(model_type):
    _is_golden(f"{model_type}.json", record_text(answer_of(model_type)))


@pytest.mark.parametrize("model_type", TYPES)
def test_its_rows_and_its_card_are_as_they_were_blessed(model_type):
    _is_golden(f"{model_type}.md", _page(answer_of(model_type)))


@pytest.mark.parametrize("model_type", TYPES)
def test_what_is_blessed_is_possible(model_type):
    path = GOLDEN / f"{model_type}.json"
    record = snapshots.read(path).snapshot.architecture
    for holds in INVARIANTS:
        holds(record, tree_of(model_type))


@pytest.mark.parametrize("path", sorted(SNAPSHOTS.glob("*.json")), ids=lambda path: path.stem)
def test_what_is_unknown_in_a_snapshot_is_an_empty_field_or_a_role(path):
    record = snapshots.read(path).snapshot.architecture
    what_is_unknown_is_an_empty_field_or_a_role(record)
    a_class_is_a_name_or_unknown(record)


def test_every_golden_file_is_of_a_type():
    kept = {path.name for path in GOLDEN.iterdir()}
    assert kept == {f"{name}.{ending}" for name in TYPES for ending in ("json", "md")}


def test_the_golden_files_can_be_read_in_a_review():
    assert sum(path.stat().st_size for path in GOLDEN.iterdir()) < LARGEST


def test_a_golden_file_holds_no_version_and_no_evidence():
    for path in sorted(GOLDEN.glob("*.json")):
        data = json.loads(path.read_text(encoding="utf-8"))
        assert not data.get("versions")
        assert not any("evidence" in component for component in data["components"])


def _page(record):
    row = Row(record.model.id, replace(record, versions={}))
    rows = [build_table(kind, [row]) for kind in KINDS]
    return "\n".join(render(each, "markdown") for each in (*rows, card_tables(build_card(row.architecture))))


def _is_golden(name, text):
    path = GOLDEN / name
    if os.environ.get("BLESS_GOLDEN"):
        path.write_text(text, encoding="utf-8", newline="\n")
    blessed = path.read_bytes().decode("utf-8")
    told = difflib.unified_diff(blessed.splitlines(), text.splitlines(), "blessed", "now", lineterm="", n=1)
    assert text == blessed, "\n" + "\n".join(told)
