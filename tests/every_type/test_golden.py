"""The record and tables of every type: `BLESS_GOLDEN=1 pytest tests/every_type` rewrites them.

Golden files must satisfy the invariants too, so that an error cannot be blessed.
"""

import difflib
import json
import os
import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.every_type import TYPES
from tests.every_type.answers import record_of, tree_of
from tests.every_type.invariants import (
    INVARIANTS,
    class_names_are_not_empty,
    unknown_keys_are_empty_fields_or_roles,
)
from vlm_inspect.core.snapshot import Snapshot
from vlm_inspect.render import render
from vlm_inspect.render.card import build_card, card_tables
from vlm_inspect.render.cells import Row
from vlm_inspect.render.columns import KINDS
from vlm_inspect.render.table import build_table
from vlm_inspect.storage import snapshots
from vlm_inspect.storage.snapshots import SnapshotFile

GOLDEN = Path(__file__).parent / "golden"
SNAPSHOTS = Path(__file__).parent.parent.parent / "snapshots"
# all files together stay small enough for a review
MAX_BYTES = 2_000_000


def record_text(record):
    bare = replace(record, versions={})
    text = snapshots.to_text(SnapshotFile(Snapshot.of(bare, None)))
    # records are deep: a third of the text would be indentation
    return re.sub(r"^ +", lambda indent: indent[0][::2], text, flags=re.MULTILINE)


@pytest.mark.parametrize("model_type", TYPES)
def test_record_matches_golden(model_type):
    _assert_golden(f"{model_type}.json", record_text(record_of(model_type)))


@pytest.mark.parametrize("model_type", TYPES)
def test_rows_and_card_match_golden(model_type):
    _assert_golden(f"{model_type}.md", _page(record_of(model_type)))


@pytest.mark.parametrize("model_type", TYPES)
def test_golden_record_satisfies_invariants(model_type):
    path = GOLDEN / f"{model_type}.json"
    record = snapshots.read(path).snapshot.architecture
    for invariant in INVARIANTS:
        invariant(record, tree_of(model_type))


@pytest.mark.parametrize("path", sorted(SNAPSHOTS.glob("*.json")), ids=lambda path: path.stem)
def test_unknown_keys_and_class_names_of_snapshots(path):
    record = snapshots.read(path).snapshot.architecture
    unknown_keys_are_empty_fields_or_roles(record)
    class_names_are_not_empty(record)


def test_golden_files_match_types():
    names = {path.name for path in GOLDEN.iterdir()}
    assert names == {f"{name}.{ending}" for name in TYPES for ending in ("json", "md")}


def test_golden_files_are_small_enough_for_a_review():
    assert sum(path.stat().st_size for path in GOLDEN.iterdir()) < MAX_BYTES


def test_golden_files_have_no_versions_and_no_evidence():
    for path in sorted(GOLDEN.glob("*.json")):
        data = json.loads(path.read_text(encoding="utf-8"))
        assert not data.get("versions")
        assert not any("evidence" in component for component in data["components"])


def _page(record):
    row = Row(record.model.id, replace(record, versions={}))
    rows = [build_table(kind, [row]) for kind in KINDS]
    return "\n".join(render(each, "markdown") for each in (*rows, card_tables(build_card(row.architecture))))


def _assert_golden(name, text):
    path = GOLDEN / name
    if os.environ.get("BLESS_GOLDEN"):
        path.write_text(text, encoding="utf-8", newline="\n")
    blessed = path.read_bytes().decode("utf-8")
    diff = difflib.unified_diff(blessed.splitlines(), text.splitlines(), "blessed", "now", lineterm="", n=1)
    assert text == blessed, "\n" + "\n".join(diff)
