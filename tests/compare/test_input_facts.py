"""Differences in how images and audio reach the language model."""

from msgspec.structs import replace

from tests.compare.conftest import of_type
from vlm_inspect.compare.compare import compare
from vlm_inspect.core.architecture import ModalityInput
from vlm_inspect.core.difference import Change, Incomparable


def with_inputs(snapshot, *inputs, unknown=()):
    record = replace(snapshot.architecture, inputs=inputs, unknown=dict(unknown))
    return replace(snapshot, architecture=record)


def test_another_fusion_is_a_change():
    before = of_type("paligemma")
    after = with_inputs(before, ModalityInput("image", ("prefix",)))
    assert compare(before, after).changes == (
        Change((), "image fusion", ("placeholders",), ("prefix",)),
        Change((), "image token", before.architecture.inputs[0].token_id, None),
    )


def test_an_unknown_fusion_is_incomparable():
    before = of_type("paligemma")
    after = with_inputs(before, ModalityInput("image", unknown={"steps": "nothing tells"}))
    difference = compare(before, after)
    assert Incomparable((), "image fusion", None, "nothing tells") in difference.incomparable
    assert "image fusion" not in [change.field for change in difference.changes]


def test_inputs_that_are_unknown_as_a_whole_are_incomparable():
    before = of_type("paligemma")
    after = with_inputs(before, unknown={"inputs": "remote code"})
    difference = compare(before, after)
    assert difference.changes == ()
    assert {(fact.field, fact.after) for fact in difference.incomparable} == {
        ("image fusion", "remote code"),
        ("image token", "remote code"),
    }


def test_snapshots_hold_no_evidence():
    assert all(not entry.evidence for entry in of_type("paligemma").architecture.inputs)
