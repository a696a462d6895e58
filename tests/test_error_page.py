"""docs/errors.md lists what can go wrong, and is what the source says."""

import runpy
from pathlib import Path

import pytest

from vlm_inspect import errors

ROOT = Path(__file__).parent.parent
TOOL = runpy.run_path(str(ROOT / "tools" / "error_page.py"))
CLASSES = [kind for kind in vars(errors).values() if isinstance(kind, type)]


def test_the_page_is_what_the_source_says():
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    assert page == TOOL["page"](), "stale: make errors"


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_has_a_sentence_and_a_place_in_the_tree(kind):
    assert kind.__doc__
    assert issubclass(kind, errors.VlmInspectError)
    assert kind.__name__ in errors.__doc__
