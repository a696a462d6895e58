"""Golden files. `BLESS_GOLDEN=1 pytest tests/render` rewrites them; review the diff before committing it."""

import os
from pathlib import Path

import pytest

from tests.render.records import RECORDS
from vlm_inspect.render.cells import Failure, Row

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def golden():
    def check(name, text):
        path = GOLDEN / name
        if os.environ.get("BLESS_GOLDEN"):
            path.write_text(text, encoding="utf-8", newline="\n")
        assert text == path.read_bytes().decode("utf-8")

    return check


@pytest.fixture
def rows():
    answered = [Row(record.model.id, record) for record in RECORDS.values()]
    failed = Row("org/gone", error=Failure("ModelNotFoundError", "org/gone is not on the Hub.", "Log in."))
    return [*answered, failed]
