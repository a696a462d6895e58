"""What a difference says of how images get in."""

from msgspec.structs import replace

from tests.compare.conftest import of_type
from vlm_inspect.compare.compare import compare
from vlm_inspect.core.architecture import ModalityInput
from vlm_inspect.core.difference import Change, Incomparable


def with_entries(snapshot, *entries, unknown=()):
    record = replace(snapshot.architecture, inputs=entries, unknown=dict(unknown))
    return replace(snapshot, architecture=record)


def test_another_way_in_is_a_change():
    before = of_type("paligemma")
    after = with_entries(before, ModalityInput("image", ("prefix",)))
    assert compare(before, after).changes == (
        Change((), "image entry", ("placeholders",), ("prefix",)),
        Change((), "image token", before.architecture.inputs[0].token_id, None),
    )


def test_an_unknown_way_in_is_equal_to_nothing():
    before = of_type("paligemma")
    after = with_entries(before, ModalityInput("image", unknown={"steps": "nothing tells"}))
    difference = compare(before, after)
    assert Incomparable((), "image entry", None, "nothing tells") in difference.incomparable
    assert "image entry" not in [change.field for change in difference.changes]


def test_what_was_not_built_is_equal_to_nothing():
    before = of_type("paligemma")
    after = with_entries(before, unknown={"inputs": "remote code"})
    difference = compare(before, after)
    assert difference.changes == ()
    assert {(fact.field, fact.after) for fact in difference.incomparable} == {
        ("image entry", "remote code"),
        ("image token", "remote code"),
    }


def test_evidence_is_no_part_of_a_snapshot():
    assert all(not entry.evidence for entry in of_type("paligemma").architecture.inputs)
